# futures/future.c: done-callbacks run in another order than they were added
/^static void ring_append/,/^}/ s/^    future->more.further = slot;/    if (!future_has(future, FUTURE_FURTHER))\n        future->more.further = slot;/
