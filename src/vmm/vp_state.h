#pragma once

#include <linux/kvm.h>
#include <stdint.h>

#include "base/state.h"
#include "vmm/kvm.h"

/*
 * Everything KVM holds of one vCPU, taken and put back as a whole: for reset (KVM has no such
 * ioctl), saved state and inspect.  The vCPU is out of the guest, its last exit completed.
 */

struct vp_state;

/* -ENOMEM, or what KVM says. */
int vp_state_take(struct kvm *kvm, struct kvm_vcpu *vcpu, struct vp_state **out);
void vp_state_free(struct vp_state *state);

/*
 * Puts it into the vCPU.  with_tsc also sets the TSC: for saved state, not for a reset, over
 * which the TSC goes on counting, in step on all VPs.
 */
int vp_state_apply(const struct vp_state *state, struct kvm_vcpu *vcpu, bool with_tsc);

/* Where it has the TSC; NULL where KVM does not tell it. */
uint64_t *vp_state_tsc(struct vp_state *state);

/* To the open node, and from it.  Reading starts from a state that was taken on this host and
 * replaces what the node has; -EINVAL, -ENOENT: state is then not to be applied. */
void vp_state_write(const struct vp_state *state, struct state_writer *writer);
int vp_state_read(struct vp_state *state, const struct state_node *node);
