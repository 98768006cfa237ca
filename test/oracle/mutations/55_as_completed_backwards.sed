# futures/as_completed.c: as_completed gives the latest that is done first
/^static cora_value take/,/^}/ s/all->entries\[all->taken++\]/all->entries[all->queued - 1 - all->taken++]/
