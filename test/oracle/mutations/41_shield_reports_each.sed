# futures/shield.c: each shield reports the error that nobody waits for
/cora_remove_done_callback(inner, cora_partial(shield_report))/d
