# reactor/ready.c: what was queued last runs first
s/queue_append(&loop->ready, slot);/{\n        slot->next = loop->ready.head;\n        if (!slot->next)\n            loop->ready.end = \&slot->next;\n        loop->ready.head = slot;\n    }/
