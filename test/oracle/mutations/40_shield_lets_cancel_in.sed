# futures/shield.c: a shield passes a cancel on to what it shields
/^static void shield_outer_done/,/^}/ s/^        return;/&\n    cora_cancel(inner);/
