#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/event_loop.h"

/*
 * The packet filter's part of a switch: one table of ours, "inet BRIDGE", that masquerades what
 * leaves the switch, and touches nobody else's.  libnftables may wait for others who change rules,
 * and ends the process where it has no socket or memory: so it runs in a small program of its own,
 * bulkhead-nat.
 *
 * Everything here runs on the loop's thread.
 */

struct switch_nat_rules {
	const char *bridge;
	const char *mark; /* the table's comment, by which we know it again */
	uint32_t subnet;
	/* Interfaces that forward only because of us, and so for our guests only. */
	const char (*guarded)[IFNAMSIZ];
	size_t guarded_count;
};

struct switch_nat;

/* What came of switch_nat_apply: a sentence where it failed, or one on what stands in its way; both
 * NULL where all is well.  On the loop. */
typedef void (*switch_nat_done)(void *context, const char *failure, const char *finding);

/* -ENOMEM. */
int switch_nat_new(struct event_loop *loop, switch_nat_done done, void *context,
		   struct switch_nat **out);

/*
 * Begins to put the rules in force, all at once; with only_absent, unless the table is there.
 * -errno with err where it cannot even begin.
 */
int switch_nat_apply(struct switch_nat *nat, const struct switch_nat_rules *rules, bool only_absent,
		     struct error *err);

/* Takes our table away, if there is one, and waits for it, for two seconds at most. */
void switch_nat_remove(struct switch_nat *nat, const char *bridge, const char *mark);

/* Lets what was begun end, for two seconds at most.  NULL is allowed. */
void switch_nat_free(struct switch_nat *nat);

/* The rules as nft reads them; free() it.  NULL: no memory. */
char *switch_nat_text(const struct switch_nat_rules *rules);
