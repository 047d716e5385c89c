#pragma once

#include <stdint.h>

/*
 * KVM's own figures of a VM or vCPU, as its binary statistics tell them (Linux
 * Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD).  One thread at a time.
 */

struct kvm_stats;

/* Takes over fd, in any case; its description is read with the first figures.  -ENOMEM. */
int kvm_stats_new(int fd, struct kvm_stats **out);
/* NULL is allowed. */
void kvm_stats_free(struct kvm_stats *stats);

/*
 * Calls each with the name and value of every plain count, those that only grow and have no unit:
 * exits by their kinds, say.  0; -EPROTO for a description that makes no sense, -ENOMEM, or what
 * the kernel refused the read with.
 */
int kvm_stats_read(struct kvm_stats *stats,
		   void (*each)(void *context, const char *name, uint64_t value), void *context);
