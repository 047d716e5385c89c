#include "vmm/partition.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "vmm/cpuid.h"
#include "vmm/kvm.h"
#include "vmm/kvm_stats.h"
#include "vmm/machine.h"
#include "vmm/partition_internal.h"
#include "vmm/vp.h"

#define SHOWN_PAGE_SIZE 4096u

#define EFER_LMA		(1ull << 10)
#define LAPIC_HZ		1000000000u /* KVM's counts nanoseconds */
#define POWER_LEAF		0x80000007u
#define POWER_EDX_INVARIANT_TSC (1u << 8)

/* What the Hyper-V interface asks of us, on VP threads. */

static void on_hv_reset(void *context)
{
	struct partition *p = context;

	atomic_store(&p->group.hv_reset, true);
	p->events->reset(p->context);
}

static void on_hv_crash(void *context, const struct hv_crash *crash)
{
	struct partition *p = context;

	p->events->crash(p->context, crash);
}

static uint64_t on_hv_runtime(void *context, unsigned int vp_index)
{
	struct partition *p = context;

	return vp_runtime_ns(p->vps[vp_index]);
}

static bool on_hv_long_mode(void *context, unsigned int vp_index)
{
	struct partition *p = context;
	struct kvm_sregs sregs;

	if (kvm_vcpu_get(p->vps[vp_index]->vcpu, KVM_PART_SREGS, &sregs) < 0)
		return false;
	return sregs.efer & EFER_LMA;
}

static uint64_t on_hv_guest_tsc(void *context, unsigned int vp_index)
{
	return partition_guest_tsc(context, vp_index);
}

static const struct hv_events hv_callbacks = {
	.reset = on_hv_reset,
	.crash = on_hv_crash,
	.vp_runtime_ns = on_hv_runtime,
	.long_mode = on_hv_long_mode,
	.guest_tsc = on_hv_guest_tsc,
};

static int check_config(const struct partition_config *config, struct error *err)
{
	if (config->vp_count == 0 || config->vp_count > MACHINE_MAX_VPS)
		return error_set(err, EINVAL,
				 "%u virtual processors are not possible: give 1 to %u",
				 config->vp_count, MACHINE_MAX_VPS);
	return 0;
}

static int make_vm(struct partition *p, const struct partition_config *config, struct error *err)
{
	int rc = kvm_new(config->kvm_fd, &p->kvm, err);

	if (rc < 0)
		return rc;
	if (kvm_capability(p->kvm, KVM_CAP_MAX_VCPUS) < (int)config->vp_count)
		return error_set(
			err, EINVAL,
			"this host's KVM cannot run %u virtual processors, only %d; lower --cpus",
			config->vp_count, kvm_capability(p->kvm, KVM_CAP_MAX_VCPUS));
	/*
	 * MSRs, then memory, then the chips: for each KVM waits until nobody reads what it
	 * replaces, and for MSRs that takes long when another such wait has just ended.
	 */
	rc = kvm_filter_hv_msrs(p->kvm, kvm_has_tsc_invariant_control(p->kvm));
	if (rc < 0)
		return error_host(err, -rc, "KVM cannot pass MSRs on");
	rc = gpa_space_new_with_room(config->ram_bytes, config->ram_room, &p->gpa, err);
	if (rc < 0)
		return rc;
	rc = p->generation1 ? partition_set_memory(p) : kvm_set_memory(p->kvm, p->gpa);
	if (rc < 0)
		return error_host(err, -rc, "KVM does not take %" PRIu64 " bytes of memory",
				  config->ram_bytes);
	rc = kvm_create_irqchip(p->kvm);
	if (rc == 0 && p->generation1)
		rc = kvm_create_pit(p->kvm);
	if (rc < 0)
		return error_host(err, -rc, "KVM cannot make interrupt controllers");
	return 0;
}

static int make_buses(struct partition *p, struct error *err)
{
	int rc = irq_controller_new(p->kvm, &p->irq);

	if (rc == 0)
		rc = io_bus_new(IO_PORT, p->kvm, &p->ports);
	if (rc == 0)
		rc = io_bus_new(IO_MMIO, p->kvm, &p->mmio);
	if (rc == 0 && p->generation1)
		rc = irq_controller_add_pit(p->irq);
	if (rc == 0 && p->generation1)
		rc = partition_place_shadow(p);
	return rc < 0 ? error_host(err, -rc, "cannot make the partition's buses") : 0;
}

static int make_vps(struct partition *p, struct error *err)
{
	p->vps = calloc(p->vp_count, sizeof(struct vp *));
	if (!p->vps)
		return error_memory(err, "virtual processors");
	p->group.kvm = p->kvm;
	p->group.ports = p->ports;
	p->group.mmio = p->mmio;
	p->group.events = p->events;
	p->group.context = p->context;
	p->group.sync_regs = kvm_capability(p->kvm, KVM_CAP_SYNC_REGS) & KVM_SYNC_X86_REGS;
	for (unsigned int i = 0; i < p->vp_count; i++) {
		int rc = vp_new(&p->group, i, &p->vps[i]);

		if (rc < 0)
			return error_host(err, -rc, "KVM cannot make virtual processor %u", i);
	}
	return 0;
}

/*
 * Whether TSCs run at one rate and in step, by the processor's word or by that of KVM's clock.  KVM
 * judges its clock when a VP runs, or when it is set: set it, as no VP has run yet.
 */
static bool tsc_is_stable(struct partition *p, struct kvm_cpuid2 *supported)
{
	const struct kvm_cpuid_entry2 *power = cpuid_find(supported, POWER_LEAF, 0);
	struct kvm_clock_data clock = {0};

	if (power && power->edx & POWER_EDX_INVARIANT_TSC)
		return true;
	return kvm_set_clock(p->kvm, &clock) == 0 && kvm_get_clock(p->kvm, &clock) == 0 &&
	       clock.flags & KVM_CLOCK_TSC_STABLE;
}

static int make_hv(struct partition *p, const struct partition_config *config,
		   struct kvm_cpuid2 *supported, struct hv_config *hv, struct error *err)
{
	int khz = kvm_vcpu_tsc_khz(p->vps[0]->vcpu);

	*hv = (struct hv_config){
		.gpa = p->gpa,
		.irq = p->irq,
		.ports = p->ports,
		.vp_count = p->vp_count,
		.stimer = config->stimer,
		.cold_discard = config->cold_discard,
		.tsc_hz = khz > 0 ? (uint64_t)khz * 1000 : 0,
		.apic_hz = LAPIC_HZ,
		.tsc_stable = khz > 0 && tsc_is_stable(p, supported),
		.kernel_tsc_invariant = kvm_has_tsc_invariant_control(p->kvm),
		.events = &hv_callbacks,
		.context = p,
	};
	return hv_partition_new(hv, &p->hv, err);
}

static int set_cpuid(struct partition *p, struct kvm_cpuid2 *table, const struct hv_config *hv,
		     struct error *err)
{
	struct cpuid_policy policy = {
		.vp_count = p->vp_count,
		.tsc_deadline = kvm_capability(p->kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
		.invariant_tsc = hv->tsc_stable,
	};
	int rc;

	hv_cpuid(p->hv, policy.hv);
	rc = cpuid_apply_policy(table, &policy);
	for (unsigned int i = 0; rc == 0 && i < p->vp_count; i++) {
		cpuid_set_vp(table, i);
		rc = kvm_vcpu_set_cpuid(p->vps[i]->vcpu, table);
		p->vps[i]->hv = hv_partition_vp(p->hv, i);
	}
	return rc < 0 ? error_host(err, -rc, "KVM does not take our CPUID") : 0;
}

static int make_interface(struct partition *p, const struct partition_config *config,
			  struct error *err)
{
	struct kvm_cpuid2 *table CLEANUP_FREE =
		calloc(1, sizeof(*table) + CPUID_ENTRIES_MAX * sizeof(table->entries[0]));
	unsigned int count = CPUID_ENTRIES_MAX;
	struct hv_config hv;
	int rc;

	if (!table)
		return error_memory(err, "CPUID");
	rc = kvm_supported_cpuid(p->kvm, table, &count);
	if (rc < 0)
		return error_host(err, -rc, "KVM does not tell its CPUID");
	rc = make_hv(p, config, table, &hv, err);
	if (rc < 0)
		return rc;
	/* What is not offered must give #GP, so the kernel may not answer for it either. */
	if (hv.kernel_tsc_invariant && !hv.tsc_stable)
		rc = kvm_filter_hv_msrs(p->kvm, false);
	if (rc < 0)
		return error_host(err, -rc, "KVM cannot pass MSRs on");
	return set_cpuid(p, table, &hv, err);
}

static int make(struct partition *p, const struct partition_config *config, struct error *err)
{
	int rc = vp_signal_set_up();

	if (rc < 0)
		return error_host(err, -rc, "cannot set up the signal of VPs");
	rc = make_vm(p, config, err);
	if (rc == 0)
		rc = make_buses(p, err);
	if (rc == 0)
		rc = make_vps(p, err);
	if (rc == 0)
		rc = make_interface(p, config, err);
	if (rc < 0)
		return rc;
	rc = partition_keep_power_on(p);
	return rc < 0 ? error_host(err, -rc, "KVM does not tell its state") : 0;
}

int partition_new(const struct partition_config *config, struct partition **out, struct error *err)
{
	struct partition *p;
	int rc = check_config(config, err);

	if (rc < 0)
		return rc;
	p = calloc(1, sizeof(*p));
	if (!p)
		return error_memory(err, "a partition");
	p->events = config->events;
	p->context = config->context;
	p->vp_count = config->vp_count;
	p->generation1 = config->generation1;
	pthread_mutex_init(&p->firmware.lock, NULL);
	vp_group_init(&p->group);
	rc = make(p, config, err);
	if (rc < 0) {
		partition_free(p);
		return rc;
	}
	*out = p;
	return 0;
}

/* Ends all VP threads, wherever they are. */
static void end_vps(struct partition *p)
{
	pthread_mutex_lock(&p->group.lock);
	p->group.ending = true;
	atomic_store(&p->group.closed, true);
	pthread_cond_broadcast(&p->group.opened);
	pthread_mutex_unlock(&p->group.lock);
	for (unsigned int i = 0; i < p->vp_count; i++) {
		if (p->vps[i] && p->vps[i]->has_thread)
			vp_kick(p->vps[i]);
	}
	for (unsigned int i = 0; i < p->vp_count; i++) {
		if (p->vps[i])
			vp_join(p->vps[i]);
	}
	p->started = false;
}

void partition_free(struct partition *partition)
{
	struct partition *p = partition;

	if (!p)
		return;
	if (p->vps)
		end_vps(p);
	hv_partition_free(p->hv);
	for (unsigned int i = 0; p->vps && i < p->vp_count; i++)
		vp_free(p->vps[i]);
	free(p->vps);
	vp_group_fini(&p->group);
	io_bus_free(p->mmio);
	io_bus_free(p->ports);
	irq_controller_free(p->irq);
	kvm_free(p->kvm);
	partition_free_firmware(p);
	gpa_space_free(p->gpa);
	free(p);
}

struct gpa_space *partition_gpa(struct partition *partition)
{
	return partition->gpa;
}

struct io_bus *partition_ports(struct partition *partition)
{
	return partition->ports;
}

struct io_bus *partition_mmio(struct partition *partition)
{
	return partition->mmio;
}

struct irq_controller *partition_irq(struct partition *partition)
{
	return partition->irq;
}

struct hv_partition *partition_hv(struct partition *partition)
{
	return partition->hv;
}

unsigned int partition_vp_count(const struct partition *partition)
{
	return partition->vp_count;
}

uint64_t partition_exits(const struct partition *partition, unsigned int vp, enum vp_exit kind)
{
	return atomic_load_explicit(&partition->vps[vp]->exits[kind], memory_order_relaxed);
}

uint64_t partition_runtime_ns(const struct partition *partition, unsigned int vp)
{
	return vp_runtime_ns(partition->vps[vp]);
}

int partition_kvm_stats(const struct partition *partition, unsigned int vp,
			void (*each)(void *context, const char *name, uint64_t value),
			void *context)
{
	struct kvm_stats *stats = partition->vps[vp]->stats;

	return stats ? kvm_stats_read(stats, each, context) : -ENOTSUP;
}

/* Whether the range lies in one of the windows that the guest places its devices in. */
static bool in_window(const struct partition *p, uint64_t gpa, uint64_t size)
{
	uint64_t high = machine_high_window(gpa_ram_end(p->gpa));
	uint64_t low = p->generation1 ? MACHINE_PCI_LOW_BASE : MACHINE_VMBUS_MMIO_BASE;
	uint64_t low_end = p->generation1 ? MACHINE_PCI_HIGH_BASE + MACHINE_PCI_HIGH_SIZE
					  : MACHINE_VMBUS_MMIO_BASE + MACHINE_VMBUS_MMIO_SIZE;

	return (gpa >= low && range_within(gpa - low, size, low_end - low)) ||
	       (gpa >= high && range_within(gpa - high, size, MACHINE_VMBUS_HIGH_MMIO_SIZE));
}

int partition_show_memory(struct partition *partition, enum partition_shown kind, uint64_t gpa,
			  uint64_t size, void *host)
{
	struct partition *p = partition;
	unsigned int slot = PARTITION_SHOWN_SLOT + kind;
	int rc;

	if (size != 0 && (!in_window(p, gpa, size) ||
			  !is_aligned(gpa | size | (uintptr_t)host, SHOWN_PAGE_SIZE)))
		return -EINVAL;
	if (p->memory_shown[kind]) {
		rc = kvm_show_memory(p->kvm, slot, gpa, 0, host);
		if (rc < 0)
			return rc;
		p->memory_shown[kind] = false;
	}
	if (size == 0)
		return 0;
	rc = kvm_show_memory(p->kvm, slot, gpa, size, host);
	p->memory_shown[kind] = rc == 0;
	return rc;
}

int partition_plug(struct partition *partition, uint64_t bytes)
{
	struct partition *p = partition;
	struct gpa_slot plug;
	int rc = gpa_next_plug(p->gpa, bytes, &plug);

	if (rc < 0)
		return rc;
	if (p->plug_count == PARTITION_PLUGS_MAX)
		return -ENOSPC;
	rc = kvm_set_memory_slot(p->kvm, gpa_slot_count(p->gpa) + p->plug_count, &plug);
	if (rc < 0)
		return rc;
	p->plug_count++;
	gpa_plug(p->gpa, &plug);
	return 0;
}

int partition_unplug_all(struct partition *partition)
{
	static const struct gpa_slot none = {0};
	struct partition *p = partition;

	for (; p->plug_count > 0; p->plug_count--) {
		int rc = kvm_set_memory_slot(p->kvm, gpa_slot_count(p->gpa) + p->plug_count - 1,
					     &none);

		if (rc < 0)
			return rc;
	}
	gpa_unplug_all(p->gpa);
	return 0;
}

int partition_set_boot(struct partition *partition, const struct boot_registers *registers)
{
	return vp_set_boot(partition->vps[0], registers);
}

static void wait_parked(struct partition *p)
{
	pthread_mutex_lock(&p->group.lock);
	while (p->group.parked < p->vp_count)
		pthread_cond_wait(&p->group.parked_changed, &p->group.lock);
	pthread_mutex_unlock(&p->group.lock);
}

static int fail_start(struct partition *p, int rc, struct error *err)
{
	end_vps(p);
	return error_host(err, -rc, "cannot start the threads of virtual processors");
}

int partition_start(struct partition *partition, int (*hook)(void *context), void *context,
		    struct error *err)
{
	int rc = hv_partition_start(partition->hv, err);

	assert(!partition->started);
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < partition->vp_count; i++) {
		rc = vp_start(partition->vps[i], hook, context);
		if (rc < 0)
			return fail_start(partition, rc, err);
	}
	return 0;
}

int partition_await(struct partition *partition, struct error *err)
{
	wait_parked(partition);
	for (unsigned int i = 0; i < partition->vp_count; i++) {
		if (partition->vps[i]->start_error < 0)
			return fail_start(partition, partition->vps[i]->start_error, err);
	}
	partition->started = true;
	return 0;
}

bool partition_paused(const struct partition *partition)
{
	return atomic_load(&partition->group.closed);
}

void partition_pause(struct partition *partition)
{
	struct partition *p = partition;

	if (partition_paused(p))
		return;
	atomic_store(&p->group.closed, true);
	for (unsigned int i = 0; i < p->vp_count; i++)
		vp_kick(p->vps[i]);
	wait_parked(p);
	hv_partition_pause(p->hv);
	partition_note_tscs(p);
}

void partition_resume(struct partition *partition)
{
	struct partition *p = partition;

	assert(p->started);
	if (!partition_paused(p))
		return;
	partition_set_tscs(p); /* which reference time is told by */
	hv_partition_resume(p->hv);
	pthread_mutex_lock(&p->group.lock);
	atomic_store(&p->group.closed, false);
	pthread_mutex_unlock(&p->group.lock);
	/* Without the lock, which is the first that those who wake up want. */
	pthread_cond_broadcast(&p->group.opened);
}

int partition_nmi(struct partition *partition, unsigned int vp)
{
	struct vp *target;

	if (vp >= partition->vp_count)
		return -EINVAL;
	target = partition->vps[vp];
	/* The ioctl would wait for the VP to come out by itself: the VP's thread does it. */
	if (partition_paused(partition))
		return kvm_vcpu_nmi(target->vcpu);
	atomic_store(&target->nmi, true);
	vp_kick(target);
	return 0;
}
