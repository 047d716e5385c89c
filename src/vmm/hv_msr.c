#include "base/checked.h"
#include "vmm/hv_internal.h"

/*
 * The synthetic MSRs: one table of who answers which, and the registers too simple for a file of
 * their own.  An MSR that is not listed, or whose feature bit is not set, gives #GP.
 */

typedef bool (*msr_read)(struct hv_vp *vp, uint32_t index, uint64_t *value);
typedef bool (*msr_write)(struct hv_vp *vp, uint32_t index, uint64_t value);

struct msr {
	uint32_t first;
	uint32_t count;
	msr_read read;	 /* NULL: #GP */
	msr_write write; /* NULL: #GP */
	bool (*present)(const struct hv_config *config);
};

static bool always(const struct hv_config *config)
{
	return true;
}

static bool has_stimer(const struct hv_config *config)
{
	return config->stimer;
}

static bool has_frequencies(const struct hv_config *config)
{
	return config->tsc_hz != 0;
}

static bool has_tsc_invariant(const struct hv_config *config)
{
	return config->tsc_stable && !config->kernel_tsc_invariant;
}

static bool guest_os_id_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	struct hv_partition *hv = vp->hv;

	pthread_mutex_lock(&hv->lock);
	*value = hv->guest_os_id;
	pthread_mutex_unlock(&hv->lock);
	return true;
}

/* An identity of zero takes the hypercall page away (TLFS 3.13), locked or not. */
static bool guest_os_id_write(struct hv_vp *vp, uint32_t index, uint64_t value)
{
	struct hv_partition *hv = vp->hv;

	pthread_mutex_lock(&hv->lock);
	hv->farewells += hv->guest_os_id && !value;
	hv->guest_os_id = value;
	if (!value)
		atomic_fetch_and(&hv->hypercall, ~HV_OVERLAY_ENABLE);
	pthread_mutex_unlock(&hv->lock);
	return true;
}

static bool hypercall_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	*value = atomic_load(&vp->hv->hypercall);
	return true;
}

static bool vp_index_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	*value = vp->index;
	return true;
}

static bool zero_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	*value = 0;
	return true;
}

static bool reset_write(struct hv_vp *vp, uint32_t index, uint64_t value)
{
	const struct hv_config *config = &vp->hv->config;

	if (value & HV_RESET_NOW)
		config->events->reset(config->context);
	return true;
}

static bool vp_runtime_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	const struct hv_config *config = &vp->hv->config;

	*value = config->events->vp_runtime_ns(config->context, vp->index) / HV_TIME_UNIT_NS;
	return true;
}

static bool reference_tsc_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	struct hv_partition *hv = vp->hv;

	pthread_mutex_lock(&hv->lock);
	*value = hv->reference_tsc;
	pthread_mutex_unlock(&hv->lock);
	return true;
}

static bool frequency_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	*value = index == 0 ? vp->hv->config.tsc_hz : vp->hv->config.apic_hz;
	return true;
}

static bool assist_page_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	*value = vp->assist_page;
	return true;
}

/* We put nothing on the page, but a guest may rely on what it finds: no EOI assist. */
static bool assist_page_write(struct hv_vp *vp, uint32_t index, uint64_t value)
{
	uint32_t *apic_assist = hv_overlay(vp->hv, value);

	vp->assist_page = value;
	if (apic_assist)
		__atomic_store_n(apic_assist, 0, __ATOMIC_RELAXED);
	return true;
}

static bool tsc_invariant_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	struct hv_partition *hv = vp->hv;

	pthread_mutex_lock(&hv->lock);
	*value = hv->tsc_invariant;
	pthread_mutex_unlock(&hv->lock);
	return true;
}

static bool tsc_invariant_write(struct hv_vp *vp, uint32_t index, uint64_t value)
{
	struct hv_partition *hv = vp->hv;

	if (value & ~HV_TSC_INVARIANT_EXPOSE)
		return false;
	pthread_mutex_lock(&hv->lock);
	hv->tsc_invariant = value;
	pthread_mutex_unlock(&hv->lock);
	return true;
}

static const struct msr msrs[] = {
	{HV_MSR_GUEST_OS_ID, 1, guest_os_id_read, guest_os_id_write, always},
	{HV_MSR_HYPERCALL, 1, hypercall_read, hv_page_msr_write, always},
	{HV_MSR_VP_INDEX, 1, vp_index_read, NULL, always},
	{HV_MSR_RESET, 1, zero_read, reset_write, always},
	{HV_MSR_VP_RUNTIME, 1, vp_runtime_read, NULL, always},
	{HV_MSR_TIME_REF_COUNT, 1, hv_time_msr_read, NULL, always},
	{HV_MSR_REFERENCE_TSC, 1, reference_tsc_read, hv_time_page_msr_write, always},
	{HV_MSR_TSC_FREQUENCY, 2, frequency_read, NULL, has_frequencies},
	{HV_MSR_VP_ASSIST_PAGE, 1, assist_page_read, assist_page_write, always},
	{HV_MSR_SCONTROL, 5, synic_msr_read, synic_msr_write, always},
	{HV_MSR_SINT0, HV_SINT_COUNT, synic_sint_read, synic_sint_write, always},
	{HV_MSR_STIMER0_CONFIG, 2 * HV_STIMER_COUNT, stimer_msr_read, stimer_msr_write, has_stimer},
	{HV_MSR_CRASH_P0, HV_CRASH_PARAMETERS + 1, hv_crash_msr_read, hv_crash_msr_write, always},
	{HV_MSR_TSC_INVARIANT, 1, tsc_invariant_read, tsc_invariant_write, has_tsc_invariant},
};

static const struct msr *find(const struct hv_vp *vp, uint32_t number)
{
	for (size_t i = 0; i < ARRAY_LENGTH(msrs); i++) {
		if (number - msrs[i].first < msrs[i].count)
			return msrs[i].present(&vp->hv->config) ? &msrs[i] : NULL;
	}
	return NULL;
}

bool hv_msr_read(struct hv_vp *vp, uint32_t msr, uint64_t *value)
{
	const struct msr *entry = find(vp, msr);

	return entry && entry->read && entry->read(vp, msr - entry->first, value);
}

bool hv_msr_write(struct hv_vp *vp, uint32_t msr, uint64_t value)
{
	const struct msr *entry = find(vp, msr);

	return entry && entry->write && entry->write(vp, msr - entry->first, value);
}
