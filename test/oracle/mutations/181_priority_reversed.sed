# queue/priority_queue.c: the item that goes behind all others comes out first
s/return order ? order < 0 :/return order ? order > 0 :/
