# futures/gather.c: a gather that was cancelled ends with a list if its children refuse
/^static bool gather_asked/,/^}/ s/cancelled |= any/cancelled |= false/
