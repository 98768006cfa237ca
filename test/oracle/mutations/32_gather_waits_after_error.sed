# futures/gather.c: the first error does not end a gather
/^static void gather_count(/,/^}/ s/} else if (fails) {/} else if (false) {/
