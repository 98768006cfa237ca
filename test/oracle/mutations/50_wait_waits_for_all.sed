# futures/wait.c: wait does not end with the first that is done
s/ || wait->return_when == CORA_FIRST_COMPLETED ||/ ||/
