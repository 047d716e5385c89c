#include <string.h>

#include "base/checked.h"
#include "devices/vsp/ic_device.h"

/*
 * Heartbeat: a number every two seconds, which the guest sends back raised by one, with what it
 * says of its applications (from 3.0 on).  A beat that is not answered before the next one is due
 * is a lost one: no other is sent meanwhile, and a guest that comes back answers it late.
 */

#define PERIOD_NS  (2ull * 1000000000)
/* So many lost in a row, and the guest counts as not alive. */
#define LOST_LIMIT 5u

struct heartbeat {
	struct ic ic;
	struct ic_timer next;
	uint64_t sequence; /* of the last beat */
	uint64_t answered;
	uint64_t lost;
	uint64_t lost_in_a_row;
	uint64_t wrong; /* answers with another number */
	uint32_t application_state;
};

static const struct ic_version versions[] = {{3, 0}, {1, 0}};

static const char *const application_states[] = {
	[IC_APPLICATION_UNKNOWN] = "unknown",
	[IC_APPLICATION_HEALTHY] = "healthy",
	[IC_APPLICATION_CRITICAL] = "critical",
	[IC_APPLICATION_STOPPED] = "stopped",
};

static struct heartbeat *from_ic(struct ic *ic)
{
	return container_of(ic, struct heartbeat, ic);
}

static void on_answer(struct ic *ic, int result, const struct ic_answer *answer)
{
	struct heartbeat *heartbeat = from_ic(ic);
	struct ic_heartbeat beat = {0};

	if (result < 0)
		return;
	memcpy(&beat, answer->body, MIN((size_t)answer->size, sizeof(beat)));
	if (answer->status != IC_S_OK || beat.sequence != heartbeat->sequence + 1) {
		heartbeat->wrong++;
		return;
	}
	heartbeat->sequence = beat.sequence;
	heartbeat->answered++;
	heartbeat->lost_in_a_row = 0;
	heartbeat->application_state =
		ic_version_at_least(ic, 3, 0) ? beat.application_state : IC_APPLICATION_UNKNOWN;
}

static void beat(void *context)
{
	struct heartbeat *heartbeat = context;
	const struct ic_heartbeat message = {.sequence = heartbeat->sequence};

	ic_timer_start(&heartbeat->next, PERIOD_NS);
	if (heartbeat->ic.done) {
		heartbeat->lost++;
		heartbeat->lost_in_a_row++;
		return;
	}
	ic_request(&heartbeat->ic, &message, sizeof(message), 0, on_answer);
}

static int heartbeat_init(struct ic *ic)
{
	struct heartbeat *heartbeat = from_ic(ic);

	return ic_timer_init(&heartbeat->next, ic->env->loop, beat, heartbeat);
}

static void heartbeat_cleanup(struct ic *ic)
{
	ic_timer_cleanup(&from_ic(ic)->next);
}

static void heartbeat_ready(struct ic *ic)
{
	from_ic(ic)->lost_in_a_row = 0;
	beat(from_ic(ic));
}

static void heartbeat_closed(struct ic *ic)
{
	struct heartbeat *heartbeat = from_ic(ic);

	ic_timer_stop(&heartbeat->next);
	heartbeat->application_state = IC_APPLICATION_UNKNOWN;
}

static void heartbeat_hold(struct ic *ic, bool held)
{
	ic_timer_hold(&from_ic(ic)->next, held);
}

static void heartbeat_save(struct ic *ic, struct state_writer *writer)
{
	const struct heartbeat *heartbeat = from_ic(ic);

	state_put_u64(writer, "sequence", heartbeat->sequence);
	state_put_u64(writer, "answered", heartbeat->answered);
	state_put_u64(writer, "lost", heartbeat->lost);
	state_put_u32(writer, "application-state", heartbeat->application_state);
}

static int heartbeat_restore(struct ic *ic, const struct state_node *node)
{
	struct heartbeat *heartbeat = from_ic(ic);
	uint64_t sequence, answered, lost;
	uint32_t application_state;
	int r = state_get_u64(node, "sequence", &sequence);

	if (r == 0)
		r = state_get_u64(node, "answered", &answered);
	if (r == 0)
		r = state_get_u64(node, "lost", &lost);
	if (r == 0)
		r = state_get_u32(node, "application-state", &application_state);
	if (r < 0)
		return r;
	heartbeat->sequence = sequence;
	heartbeat->answered = answered;
	heartbeat->lost = lost;
	heartbeat->application_state = application_state;
	if (ic->state == IC_READY)
		ic_timer_start(&heartbeat->next, PERIOD_NS);
	return 0;
}

/* In the words of the field: OK, lost communication, no contact. */
static const char *health(const struct heartbeat *heartbeat)
{
	if (heartbeat->ic.state != IC_READY || heartbeat->answered == 0)
		return "no contact";
	return heartbeat->lost_in_a_row >= LOST_LIMIT ? "lost communication" : "ok";
}

static void heartbeat_report(struct ic *ic, json_t *report)
{
	const struct heartbeat *heartbeat = from_ic(ic);
	uint32_t state = heartbeat->application_state;
	const char *applications =
		state < ARRAY_LENGTH(application_states) ? application_states[state] : "unknown";

	json_object_set_new(report, "heartbeat", json_string(health(heartbeat)));
	json_object_set_new(report, "applications", json_string(applications));
	json_object_set_new(report, "beats", json_integer((json_int_t)heartbeat->answered));
	json_object_set_new(report, "lost", json_integer((json_int_t)heartbeat->lost));
	json_object_set_new(report, "lost_in_a_row",
			    json_integer((json_int_t)heartbeat->lost_in_a_row));
	json_object_set_new(report, "wrong", json_integer((json_int_t)heartbeat->wrong));
}

const struct ic_ops ic_heartbeat = {
	.name = "heartbeat",
	.class_id = GUID_INIT(0x57164f39, 0x9115, 0x4e78, 0xab, 0x55, 0x38, 0x2f, 0x3b, 0xd5, 0x42,
			      0x2d),
	.instance_id = GUID_INIT(0xfd149e91, 0x82e0, 0x4a7d, 0xaf, 0xa6, 0x2a, 0x41, 0x66, 0xcb,
				 0xd7, 0xc0),
	.message_type = IC_HEARTBEAT,
	.versions = versions,
	.version_count = ARRAY_LENGTH(versions),
	.size = sizeof(struct heartbeat),
	.init = heartbeat_init,
	.cleanup = heartbeat_cleanup,
	.ready = heartbeat_ready,
	.closed = heartbeat_closed,
	.hold = heartbeat_hold,
	.save = heartbeat_save,
	.restore = heartbeat_restore,
	.report = heartbeat_report,
};
