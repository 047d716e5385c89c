#include <ctype.h>
#include <string.h>

#include "base/checked.h"
#include "vmm/hv_internal.h"

/* Crash MSRs (TLFS 4.6): P0-P4 hold what the guest wants known, CTL says that it crashed. */

enum {
	P3_MESSAGE_GPA = 3,
	P4_MESSAGE_BYTES = 4,
};

#define CRASH_CTL (HV_MSR_CRASH_CTL - HV_MSR_CRASH_P0)

bool hv_crash_msr_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	struct hv_partition *hv = vp->hv;

	if (index == CRASH_CTL) {
		*value = HV_CRASH_NOTIFY | HV_CRASH_MESSAGE;
		return true;
	}
	pthread_mutex_lock(&hv->lock);
	*value = hv->crash[index];
	pthread_mutex_unlock(&hv->lock);
	return true;
}

/* Copies the message once, and leaves only what a terminal can take. */
static void read_message(const struct hv_partition *hv, struct hv_crash *crash)
{
	size_t size = MIN(crash->parameters[P4_MESSAGE_BYTES], sizeof(crash->message) - 1);
	char *message = crash->message;

	if (crash->parameters[P4_MESSAGE_BYTES] > HV_PAGE_SIZE ||
	    gpa_read(hv->config.gpa, crash->parameters[P3_MESSAGE_GPA], message, size) < 0)
		return;
	for (size_t i = 0; i < size && message[i]; i++) {
		if (!isascii(message[i]) || (!isprint(message[i]) && !strchr("\n\t", message[i])))
			message[i] = '?';
	}
}

bool hv_crash_msr_write(struct hv_vp *vp, uint32_t index, uint64_t value)
{
	struct hv_partition *hv = vp->hv;
	struct hv_crash crash = {0};

	pthread_mutex_lock(&hv->lock);
	if (index < HV_CRASH_PARAMETERS)
		hv->crash[index] = value;
	memcpy(crash.parameters, hv->crash, sizeof(crash.parameters));
	pthread_mutex_unlock(&hv->lock);
	if (index != CRASH_CTL || !(value & HV_CRASH_NOTIFY))
		return true;
	if (value & HV_CRASH_MESSAGE)
		read_message(hv, &crash);
	hv->config.events->crash(hv->config.context, &crash);
	return true;
}
