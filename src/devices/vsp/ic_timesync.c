#include <errno.h>
#include <time.h>

#include "base/checked.h"
#include "devices/vsp/ic_device.h"
#include "vmm/hv.h"

/*
 * Time synchronization: a guest sets its clock by SYNC alone, which it is given when it starts and
 * when it has stood still; a SAMPLE every few seconds is what its own clock discipline may
 * follow (Linux drivers/hv/hv_util.c has a PTP clock of them).
 */

#define NS_A_SECOND 1000000000ull
#define PERIOD_NS   (5 * NS_A_SECOND)
#define ANSWER_NS   (30 * NS_A_SECOND)
/* Stood still for so long in all, the guest's clock is set; less is left to its discipline. */
#define LAG_MAX_NS  (NS_A_SECOND / 10)
#define TRIES	    5

struct timesync {
	struct ic ic;
	struct ic_timer next;
	bool sync_due;
	uint64_t lag_ns; /* stood still since the last SYNC */
	uint64_t syncs, samples;
};

static const struct ic_version versions[] = {{4, 0}, {3, 0}, {1, 0}};

static struct timesync *from_ic(struct ic *ic)
{
	return container_of(ic, struct timesync, ic);
}

/* The host's time of day, and the partition's reference time at the same moment: the pair that
 * lay closest together. */
static void read_clocks(struct hv_partition *hv, uint64_t *time, uint64_t *reference)
{
	uint64_t best = UINT64_MAX;

	for (unsigned int i = 0; i < TRIES; i++) {
		uint64_t before = hv_partition_time(hv), width;
		struct timespec now;

		clock_gettime(CLOCK_REALTIME, &now);
		width = hv_partition_time(hv) - before;
		if (width >= best)
			continue;
		best = width;
		*reference = before + width / 2;
		*time = IC_TIME_OF_1970 + (uint64_t)now.tv_sec * (NS_A_SECOND / 100) +
			(uint64_t)now.tv_nsec / 100;
	}
}

static void on_answer(struct ic *ic, int result, const struct ic_answer *answer);

static int send_time(struct timesync *timesync, uint8_t flags)
{
	uint64_t time = 0, reference = 0;

	read_clocks(timesync->ic.env->hv, &time, &reference);
	if (ic_version_at_least(&timesync->ic, 4, 0)) {
		const struct ic_timesync_reference message = {
			.parent_time = time, .reference_time = reference, .flags = flags};

		return ic_request(&timesync->ic, &message, sizeof(message), ANSWER_NS, on_answer);
	}
	const struct ic_timesync message = {.parent_time = time, .flags = flags};

	return ic_request(&timesync->ic, &message, sizeof(message), ANSWER_NS, on_answer);
}

/* Sends what is due, unless an answer is awaited, which comes back here. */
static void tell(struct timesync *timesync)
{
	if (timesync->ic.state != IC_READY || timesync->ic.done)
		return;
	if (send_time(timesync, timesync->sync_due ? IC_TIMESYNC_SYNC : IC_TIMESYNC_SAMPLE) == 0) {
		timesync->syncs += timesync->sync_due;
		timesync->samples += !timesync->sync_due;
		timesync->sync_due = false;
	}
	ic_timer_start(&timesync->next, PERIOD_NS);
}

static void on_answer(struct ic *ic, int result, const struct ic_answer *answer)
{
	struct timesync *timesync = from_ic(ic);

	/* The driver that did not answer may not have set the clock. */
	if (timesync->sync_due)
		tell(timesync);
}

static void on_next(void *context)
{
	struct timesync *timesync = context;

	ic_timer_start(&timesync->next, PERIOD_NS);
	tell(timesync);
}

static int timesync_init(struct ic *ic)
{
	struct timesync *timesync = from_ic(ic);

	return ic_timer_init(&timesync->next, ic->env->loop, on_next, timesync);
}

static void timesync_cleanup(struct ic *ic)
{
	ic_timer_cleanup(&from_ic(ic)->next);
}

static void request_sync(struct timesync *timesync)
{
	timesync->sync_due = true;
	timesync->lag_ns = 0;
	tell(timesync);
}

static void timesync_ready(struct ic *ic)
{
	request_sync(from_ic(ic));
}

static void timesync_closed(struct ic *ic)
{
	ic_timer_stop(&from_ic(ic)->next);
}

static void timesync_resumed(struct ic *ic, uint64_t paused_ns)
{
	struct timesync *timesync = from_ic(ic);

	timesync->lag_ns += paused_ns;
	if (timesync->lag_ns >= LAG_MAX_NS)
		request_sync(timesync);
}

static void timesync_hold(struct ic *ic, bool held)
{
	ic_timer_hold(&from_ic(ic)->next, held);
}

/* Whoever is restored has stood still, for nobody knows how long. */
static int timesync_restore(struct ic *ic, const struct state_node *node)
{
	struct timesync *timesync = from_ic(ic);

	timesync->lag_ns = LAG_MAX_NS;
	return 0;
}

static void timesync_report(struct ic *ic, json_t *report)
{
	const struct timesync *timesync = from_ic(ic);

	json_object_set_new(report, "syncs", json_integer((json_int_t)timesync->syncs));
	json_object_set_new(report, "samples", json_integer((json_int_t)timesync->samples));
}

const struct ic_ops ic_timesync = {
	.name = "timesync",
	.class_id = GUID_INIT(0x9527e630, 0xd0ae, 0x497b, 0xad, 0xce, 0xe8, 0x0a, 0xb0, 0x17, 0x5c,
			      0xaf),
	.instance_id = GUID_INIT(0x2dd1ce17, 0x079e, 0x403c, 0xb3, 0x52, 0xa1, 0x92, 0x1e, 0xe2,
				 0x07, 0xee),
	.message_type = IC_TIMESYNC,
	.versions = versions,
	.version_count = ARRAY_LENGTH(versions),
	.size = sizeof(struct timesync),
	.init = timesync_init,
	.cleanup = timesync_cleanup,
	.ready = timesync_ready,
	.closed = timesync_closed,
	.resumed = timesync_resumed,
	.hold = timesync_hold,
	.restore = timesync_restore,
	.report = timesync_report,
};
