#include "vmm/vp.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmm/kvm_stats.h"

int vp_signal_number(void)
{
	return SIGRTMIN;
}

static void on_signal(int number)
{
}

int vp_signal_set_up(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	sigemptyset(&action.sa_mask);
	return sigaction(vp_signal_number(), &action, NULL) < 0 ? -errno : 0;
}

void vp_group_init(struct vp_group *group)
{
	pthread_mutex_init(&group->lock, NULL);
	pthread_cond_init(&group->parked_changed, NULL);
	pthread_cond_init(&group->opened, NULL);
	atomic_init(&group->closed, true);
	atomic_init(&group->hv_reset, false);
}

void vp_group_fini(struct vp_group *group)
{
	pthread_cond_destroy(&group->opened);
	pthread_cond_destroy(&group->parked_changed);
	pthread_mutex_destroy(&group->lock);
}

int vp_new(struct vp_group *group, unsigned int index, struct vp **out)
{
	struct vp *vp = calloc(1, sizeof(*vp));
	int rc;

	if (!vp)
		return -ENOMEM;
	vp->group = group;
	vp->index = index;
	rc = kvm_vcpu_new(group->kvm, index, &vp->vcpu);
	if (rc < 0) {
		free(vp);
		return rc;
	}
	vp->run = kvm_vcpu_page(vp->vcpu);
	rc = kvm_vcpu_stats_fd(vp->vcpu);
	if (rc >= 0 && kvm_stats_new(rc, &vp->stats)) {
		vp_free(vp);
		return -ENOMEM;
	}
	if (group->sync_regs)
		vp->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	*out = vp;
	return 0;
}

void vp_free(struct vp *vp)
{
	if (!vp)
		return;
	vp_state_free(vp->power_on);
	kvm_stats_free(vp->stats);
	kvm_vcpu_free(vp->vcpu);
	free(vp);
}

void vp_count(struct vp *vp, enum vp_exit kind)
{
	uint64_t count = atomic_load_explicit(&vp->exits[kind], memory_order_relaxed);

	atomic_store_explicit(&vp->exits[kind], count + 1, memory_order_relaxed);
}

static void set_immediate_exit(struct vp *vp, uint8_t value)
{
	__atomic_store_n(&vp->run->immediate_exit, value, __ATOMIC_SEQ_CST);
}

void vp_kick(struct vp *vp)
{
	set_immediate_exit(vp, 1);
	pthread_kill(vp->thread, vp_signal_number());
}

static uint64_t thread_clock_ns(const struct vp *vp)
{
	struct timespec now;
	clockid_t clock;

	if (!vp->has_thread || pthread_getcpuclockid(vp->thread, &clock) != 0 ||
	    clock_gettime(clock, &now) < 0)
		return 0;
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t vp_runtime_ns(const struct vp *vp)
{
	return vp->runtime_base_ns + thread_clock_ns(vp);
}

void vp_set_runtime_ns(struct vp *vp, uint64_t ns)
{
	vp->runtime_base_ns = ns - thread_clock_ns(vp);
}

static void run_once(struct vp *vp)
{
	int rc = kvm_vcpu_run(vp->vcpu);

	vp->ran = true;
	if (rc == -EINTR || rc == -EAGAIN)
		vp_count(vp, VP_EXIT_INTERRUPTED);
	else if (rc < 0)
		vp_handle_failure(vp, rc);
	else
		vp_handle_exit(vp);
}

static void take_nmi(struct vp *vp)
{
	if (atomic_exchange(&vp->nmi, false))
		kvm_vcpu_nmi(vp->vcpu);
}

/*
 * Has KVM finish what the last exit began (it does so at the next KVM_RUN), without running the
 * guest: only then are the registers whole, and free to be replaced.  Finishing may bring the next
 * part of the same instruction as another exit.
 */
static void settle(struct vp *vp)
{
	int rc = 0;

	while (vp->ran && rc == 0) {
		set_immediate_exit(vp, 1);
		rc = kvm_vcpu_run(vp->vcpu);
		if (rc == 0)
			vp_handle_exit(vp);
	}
	vp->ran = false;
	take_nmi(vp);
}

/* Parks at the closed gate, or for good when stopped until a reset; false when all ends. */
static bool pass_gate(struct vp *vp)
{
	struct vp_group *group = vp->group;
	bool ending;

	if (!atomic_load(&group->closed) && !vp->stopped)
		return true;
	settle(vp);
	pthread_mutex_lock(&group->lock);
	group->parked++;
	pthread_cond_signal(&group->parked_changed);
	while ((atomic_load(&group->closed) || vp->stopped) && !group->ending)
		pthread_cond_wait(&group->opened, &group->lock);
	group->parked--;
	ending = group->ending;
	pthread_mutex_unlock(&group->lock);
	return !ending;
}

static void *vp_main(void *argument)
{
	struct vp *vp = argument;
	char name[16];

	/* Its own name only: another thread's is set through a file, which a sandbox forbids. */
	snprintf(name, sizeof(name), "vp%u", vp->index);
	pthread_setname_np(pthread_self(), name);
	if (vp->hook)
		vp->start_error = vp->hook(vp->hook_context);
	while (pass_gate(vp)) {
		set_immediate_exit(vp, 0);
		take_nmi(vp);
		if (!atomic_load(&vp->group->closed))
			run_once(vp);
	}
	return NULL;
}

int vp_start(struct vp *vp, int (*hook)(void *context), void *context)
{
	sigset_t all_but_ours, before;
	int rc;

	vp->hook = hook;
	vp->hook_context = context;
	/* Other signals are for the main loop. */
	sigfillset(&all_but_ours);
	sigdelset(&all_but_ours, vp_signal_number());
	pthread_sigmask(SIG_SETMASK, &all_but_ours, &before);
	rc = pthread_create(&vp->thread, NULL, vp_main, vp);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0)
		return -rc;
	vp->has_thread = true;
	return 0;
}

void vp_join(struct vp *vp)
{
	if (vp->has_thread)
		pthread_join(vp->thread, NULL);
	vp->has_thread = false;
}
