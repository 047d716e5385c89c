#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "vmm/hv_internal.h"
#include "vmm/hv_timer_thread.h"
#include "vmm/machine.h"

/* The Hyper-V interface of one partition as a whole: its life, pauses and saved state. */

static void vp_init(struct hv_partition *hv, unsigned int index)
{
	struct hv_vp *vp = &hv->vps[index];

	vp->hv = hv;
	vp->index = index;
	pthread_mutex_init(&vp->lock, NULL);
	synic_init(vp);
	stimer_init(vp);
}

/* Timers first: their messages are in the SynIC's queues. */
static void vp_fini(struct hv_vp *vp)
{
	stimer_fini(vp);
	synic_fini(vp);
	pthread_mutex_destroy(&vp->lock);
}

static void vp_reset(struct hv_vp *vp)
{
	pthread_mutex_lock(&vp->lock);
	stimer_reset(vp);
	synic_reset(vp);
	vp->assist_page = 0;
	pthread_mutex_unlock(&vp->lock);
}

int hv_partition_new(const struct hv_config *config, struct hv_partition **out, struct error *err)
{
	struct hv_partition *hv;
	int r;

	if (config->vp_count < 1 || config->vp_count > MACHINE_MAX_VPS)
		return error_set(err, EINVAL, "%u virtual processors are not between 1 and %u",
				 config->vp_count, MACHINE_MAX_VPS);
	hv = calloc(1, sizeof(*hv) + config->vp_count * sizeof(hv->vps[0]));
	if (!hv)
		return error_memory(err, "the partition");
	hv->config = *config;
	pthread_mutex_init(&hv->lock, NULL);
	hv_time_init(hv);
	for (unsigned int i = 0; i < config->vp_count; i++)
		vp_init(hv, i);
	r = hv_ports_new(config->ports, &hv->ports);
	if (r < 0)
		error_memory(err, "the partition");
	else if (config->stimer)
		r = timer_thread_new(hv, &hv->timers, err);
	if (r < 0) {
		hv_partition_free(hv);
		return r;
	}
	*out = hv;
	return 0;
}

void hv_partition_free(struct hv_partition *hv)
{
	if (!hv)
		return;
	timer_thread_free(hv->timers);
	for (unsigned int i = 0; i < hv->config.vp_count; i++)
		vp_fini(&hv->vps[i]);
	hv_ports_free(hv->ports);
	pthread_mutex_destroy(&hv->lock);
	free(hv);
}

int hv_partition_start(struct hv_partition *hv, struct error *err)
{
	return timer_thread_start(hv->timers, err);
}

void hv_partition_pause(struct hv_partition *hv)
{
	hv_time_freeze(hv);
	timer_thread_pause(hv->timers);
}

void hv_partition_resume(struct hv_partition *hv)
{
	hv_time_thaw(hv);
	pthread_mutex_lock(&hv->lock);
	hv_time_update_page(hv, 0);
	pthread_mutex_unlock(&hv->lock);
	timer_thread_resume(hv->timers);
}

void hv_partition_reset(struct hv_partition *hv)
{
	hv_partition_pause(hv);
	for (unsigned int i = 0; i < hv->config.vp_count; i++)
		vp_reset(&hv->vps[i]);
	pthread_mutex_lock(&hv->lock);
	hv->guest_os_id = 0;
	atomic_store(&hv->hypercall, 0);
	hv->reference_tsc = 0;
	hv->tsc_sequence = 0;
	hv->tsc_invariant = 0;
	memset(hv->crash, 0, sizeof(hv->crash));
	pthread_mutex_unlock(&hv->lock);
	hv_time_set(hv, 0);
}

struct hv_vp *hv_partition_vp(struct hv_partition *hv, unsigned int vp_index)
{
	return vp_index < hv->config.vp_count ? &hv->vps[vp_index] : NULL;
}

uint64_t hv_partition_farewells(struct hv_partition *hv)
{
	uint64_t farewells;

	pthread_mutex_lock(&hv->lock);
	farewells = hv->farewells;
	pthread_mutex_unlock(&hv->lock);
	return farewells;
}

struct hv_ports *hv_partition_ports(struct hv_partition *hv)
{
	return hv->ports;
}

void *hv_overlay(const struct hv_partition *hv, uint64_t msr)
{
	if (!(msr & HV_OVERLAY_ENABLE))
		return NULL;
	return gpa_pointer(hv->config.gpa, msr & HV_OVERLAY_GPA, HV_PAGE_SIZE, GPA_WRITE);
}

static void save_vp(struct hv_vp *vp, struct state_writer *writer)
{
	char name[16];

	snprintf(name, sizeof(name), "vp@%u", vp->index);
	pthread_mutex_lock(&vp->lock);
	state_begin(writer, name, 1);
	state_put_u64(writer, "vp-assist-page", vp->assist_page);
	synic_save(vp, writer);
	if (vp->hv->config.stimer)
		stimer_save(vp, writer);
	state_end(writer);
	pthread_mutex_unlock(&vp->lock);
}

void hv_partition_save(struct hv_partition *hv, struct state_writer *writer)
{
	uint8_t crash[HV_CRASH_PARAMETERS * 8];

	for (unsigned int i = 0; i < HV_CRASH_PARAMETERS; i++)
		put_le64(crash + i * 8, hv->crash[i]);
	state_begin(writer, "hyperv", 1);
	state_put_u64(writer, "reference-time", hv_time_now(hv));
	state_put_u64(writer, "guest-os-id", hv->guest_os_id);
	state_put_u64(writer, "hypercall", atomic_load(&hv->hypercall));
	state_put_u64(writer, "reference-tsc", hv->reference_tsc);
	state_put_u32(writer, "tsc-sequence", hv->tsc_sequence);
	state_put_u64(writer, "tsc-invariant", hv->tsc_invariant);
	state_put_bytes(writer, "crash-parameters", crash, sizeof(crash));
	for (unsigned int i = 0; i < hv->config.vp_count; i++)
		save_vp(&hv->vps[i], writer);
	state_end(writer);
}

static int restore_registers(struct hv_partition *hv, const struct state_node *node)
{
	uint8_t crash[HV_CRASH_PARAMETERS * 8];
	uint64_t hypercall;
	uint64_t now;

	if (state_get_u64(node, "reference-time", &now) < 0 || now == HV_CLOCK_RUNS ||
	    state_get_u64(node, "guest-os-id", &hv->guest_os_id) < 0 ||
	    state_get_u64(node, "hypercall", &hypercall) < 0 ||
	    state_get_u64(node, "reference-tsc", &hv->reference_tsc) < 0 ||
	    state_get_u32(node, "tsc-sequence", &hv->tsc_sequence) < 0 ||
	    state_get_u64(node, "tsc-invariant", &hv->tsc_invariant) < 0 ||
	    state_get_bytes(node, "crash-parameters", crash, sizeof(crash)) < 0)
		return -EINVAL;
	for (unsigned int i = 0; i < HV_CRASH_PARAMETERS; i++)
		hv->crash[i] = get_le64(crash + i * 8);
	atomic_store(&hv->hypercall, hypercall);
	hv_time_set(hv, now);
	return 0;
}

static int restore_vp(struct hv_vp *vp, const struct state_node *parent)
{
	struct state_node node;
	char name[16];
	int r;

	snprintf(name, sizeof(name), "vp@%u", vp->index);
	r = state_child(parent, name, 1, &node);
	if (r == 0)
		r = state_get_u64(&node, "vp-assist-page", &vp->assist_page);
	if (r < 0)
		return r;
	pthread_mutex_lock(&vp->lock);
	r = synic_restore(vp, &node);
	if (r == 0 && vp->hv->config.stimer)
		r = stimer_restore(vp, &node);
	pthread_mutex_unlock(&vp->lock);
	return r;
}

int hv_partition_restore(struct hv_partition *hv, const struct state_node *parent)
{
	struct state_node node;
	int r = state_child(parent, "hyperv", 1, &node);

	hv_partition_reset(hv);
	if (r == 0)
		r = restore_registers(hv, &node);
	for (unsigned int i = 0; i < hv->config.vp_count && r == 0; i++)
		r = restore_vp(&hv->vps[i], &node);
	if (r < 0)
		hv_partition_reset(hv);
	return r;
}
