# futures/timeout.c: a time limit that goes off ends with its Cancelled
/^static cora_value leave/,/^}/ s/return cora_error_from(error, CORA_ETIMEOUT, NULL);/return error;/
