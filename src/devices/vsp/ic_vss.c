#include <errno.h>

#include "base/checked.h"
#include "devices/vsp/ic_device.h"

/*
 * Volume snapshot: the guest's file systems are frozen for a while, so that its disks can be copied
 * in a state that they could be mounted from.
 *
 * A guest must never stay frozen because of us: a freeze is a lease, and at its end, or when the
 * answer to a freeze does not come, the thaw is sent, again and again until the guest says it is
 * done or is gone.  Whoever wants more time freezes once more: that only lengthens the lease.
 *
 * A freeze may also be held: it has a number by which it is released, before its lease ends, when
 * whoever wanted it is gone, and by which its end can be waited for.  Nobody else lengthens it.
 */

#define NS_A_SECOND   1000000000ull
#define LEASE_DEFAULT 60u /* seconds */
#define LEASE_MAX     900u
/* Writing back a guest's caches may take long; Linux gives its daemon 15 minutes for it. */
#define FREEZE_NS     (120 * NS_A_SECOND)
#define ANSWER_NS     (40 * NS_A_SECOND)
#define THAW_AGAIN_NS (5 * NS_A_SECOND)

enum vss_phase {
	VSS_THAWED,
	VSS_CHECKING, /* whether it can be frozen */
	VSS_FREEZING,
	VSS_FROZEN,
	VSS_THAWING, /* until the guest says so */
	VSS_PHASES,
};

static const char *const phase_names[VSS_PHASES] = {
	[VSS_THAWED] = "thawed", [VSS_CHECKING] = "checking", [VSS_FREEZING] = "freezing",
	[VSS_FROZEN] = "frozen", [VSS_THAWING] = "thawing",
};

struct vss {
	struct ic ic;
	enum vss_phase phase;
	struct device_call *freeze, *thaw; /* NULL: none waits */
	struct device_call *end;	   /* of the held freeze; the same */
	uint64_t holds;			   /* how many there were: their numbers */
	uint64_t hold;			   /* the one that holds; 0: none */
	uint64_t lease_ns;
	struct ic_timer timer; /* the lease, or the next try to thaw */
	uint64_t freezes, thaws, expired;
};

static const struct ic_version versions[] = {{7, 0}, {6, 0}, {5, 0}};

/* Which phase may follow which. */
static const uint8_t transitions[VSS_PHASES] = {
	[VSS_THAWED] = 1 << VSS_CHECKING | 1 << VSS_THAWING,
	[VSS_CHECKING] = 1 << VSS_FREEZING | 1 << VSS_THAWED,
	[VSS_FREEZING] = 1 << VSS_FROZEN | 1 << VSS_THAWING | 1 << VSS_THAWED,
	[VSS_FROZEN] = 1 << VSS_THAWING | 1 << VSS_THAWED,
	[VSS_THAWING] = 1 << VSS_THAWED,
};

static void set_phase(struct vss *vss, enum vss_phase phase)
{
	assert(transitions[vss->phase] & 1 << phase);
	vss->phase = phase;
}

static struct vss *from_ic(struct ic *ic)
{
	return container_of(ic, struct vss, ic);
}

static int send_operation(struct vss *vss, enum ic_vss_operation operation, uint64_t timeout_ns,
			  ic_done done)
{
	const struct ic_vss message = {.operation = (uint8_t)operation};

	return ic_request(&vss->ic, &message, sizeof(message), timeout_ns, done);
}

static void refuse(struct device_call **call, const struct error *err)
{
	if (*call)
		integration_refuse(*call, err);
	*call = NULL;
}

static void on_thaw(struct ic *ic, int result, const struct ic_answer *answer);

/* The guest is no longer frozen for the one that holds it, or will not be. */
static void end_hold(struct vss *vss, const char *how)
{
	struct device_call *end = vss->end;

	vss->hold = 0;
	vss->end = NULL;
	if (end)
		end->reply(end, json_pack("{s:s}", "over", how));
}

static void send_thaw(struct vss *vss)
{
	if (send_operation(vss, IC_VSS_THAW, ANSWER_NS, on_thaw) < 0)
		ic_timer_start(&vss->timer, THAW_AGAIN_NS);
}

static void begin_thaw(struct vss *vss)
{
	end_hold(vss, "thawed");
	ic_timer_stop(&vss->timer);
	if (vss->phase != VSS_THAWING)
		set_phase(vss, VSS_THAWING);
	send_thaw(vss);
}

/* Whoever waits hears of a failure; the guest is asked again all the same. */
static void on_thaw(struct ic *ic, int result, const struct ic_answer *answer)
{
	struct vss *vss = from_ic(ic);
	struct device_call *call = vss->thaw;
	struct error err;

	if (result == -ECONNRESET)
		return;
	if (ic_failure(result, answer, "the thaw", &err)) {
		refuse(&vss->thaw, &err);
		ic_timer_start(&vss->timer, THAW_AGAIN_NS);
		return;
	}
	set_phase(vss, VSS_THAWED);
	vss->thaws++;
	vss->thaw = NULL;
	if (call)
		call->reply(call, NULL);
}

static json_t *frozen_reply(const struct vss *vss)
{
	json_t *reply = json_pack("{s:I}", "timeout", (json_int_t)(vss->lease_ns / NS_A_SECOND));

	if (vss->hold)
		json_object_set_new(reply, "hold", json_integer((json_int_t)vss->hold));
	return reply;
}

static void on_freeze(struct ic *ic, int result, const struct ic_answer *answer)
{
	struct vss *vss = from_ic(ic);
	struct device_call *call = vss->freeze;
	struct error err;

	if (result == -ECONNRESET)
		return;
	if (ic_failure(result, answer, "the freeze", &err)) {
		/* It may be frozen in part, or be so later. */
		refuse(&vss->freeze, &err);
		begin_thaw(vss);
		return;
	}
	set_phase(vss, VSS_FROZEN);
	vss->freezes++;
	vss->freeze = NULL;
	ic_timer_start(&vss->timer, vss->lease_ns);
	call->reply(call, frozen_reply(vss));
}

static void on_check(struct ic *ic, int result, const struct ic_answer *answer)
{
	struct vss *vss = from_ic(ic);
	struct error err;
	int r;

	if (result == -ECONNRESET)
		return;
	r = ic_failure(result, answer, "the freeze", &err);
	if (r == 0) {
		r = send_operation(vss, IC_VSS_FREEZE, FREEZE_NS, on_freeze);
		if (r == 0) {
			set_phase(vss, VSS_FREEZING);
			return;
		}
		ic_failure(r, NULL, "the freeze", &err);
	}
	set_phase(vss, VSS_THAWED);
	vss->hold = 0;
	refuse(&vss->freeze, &err);
}

/* The lease is over, or given up, or the next try to thaw is due. */
static void on_timer(void *context)
{
	struct vss *vss = context;

	if (vss->phase == VSS_FROZEN && vss->lease_ns > 0) {
		vss->expired++;
		end_hold(vss, "expired");
	}
	begin_thaw(vss);
}

static int read_lease(struct vss *vss, const json_t *parameters, struct error *err)
{
	const json_t *seconds = json_object_get(parameters, "timeout");
	json_int_t lease = seconds ? json_integer_value(seconds) : LEASE_DEFAULT;

	if (lease < 1 || lease > LEASE_MAX)
		return error_set(err, EINVAL, "the time-out of a freeze must be 1 to %u seconds",
				 LEASE_MAX);
	vss->lease_ns = (uint64_t)lease * NS_A_SECOND;
	return 0;
}

/* Begins a freeze; 1 if the guest is frozen already and only the lease is longer now. */
static int begin_freeze(struct vss *vss, const json_t *parameters, struct error *err)
{
	bool hold = json_is_true(json_object_get(parameters, "hold"));
	int r;

	if (vss->ic.state != IC_READY || (vss->phase != VSS_THAWED && vss->phase != VSS_FROZEN))
		return ic_not_ready(&vss->ic, err);
	if (vss->phase == VSS_FROZEN && (hold || vss->hold))
		return error_set(err, EBUSY,
				 "the guest is frozen already, for another; wait until that has "
				 "ended, or thaw it");
	r = read_lease(vss, parameters, err);
	if (r < 0)
		return r;
	if (vss->phase == VSS_FROZEN) {
		ic_timer_start(&vss->timer, vss->lease_ns);
		return 1;
	}
	r = send_operation(vss, IC_VSS_HOT_BACKUP, ANSWER_NS, on_check);
	if (r < 0)
		return ic_failure(r, NULL, "the freeze", err);
	set_phase(vss, VSS_CHECKING);
	vss->hold = hold ? ++vss->holds : 0;
	return 0;
}

void ic_vss_freeze_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct error err;
	struct ic *ic = integration_find(device, &ic_vss, &err);
	int r = ic ? begin_freeze(from_ic(ic), parameters, &err) : -ENOTSUP;

	if (r < 0)
		integration_refuse(call, &err);
	else if (r > 0)
		call->reply(call, frozen_reply(from_ic(ic)));
	else
		from_ic(ic)->freeze = call;
}

/* A guest that is not frozen is thawed, too: its administrator may know better than we. */
void ic_vss_thaw_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct error err;
	struct ic *ic = integration_find(device, &ic_vss, &err);
	struct vss *vss = ic ? from_ic(ic) : NULL;

	if (vss && (ic->state != IC_READY || vss->thaw || vss->phase == VSS_CHECKING ||
		    vss->phase == VSS_FREEZING)) {
		ic_not_ready(ic, &err);
		vss = NULL;
	}
	if (!vss) {
		integration_refuse(call, &err);
		return;
	}
	vss->thaw = call;
	if (!ic->done)
		begin_thaw(vss);
}

/* The freeze of that number, also while the VM is paused; NULL: it is over. */
static struct vss *find_hold(const struct integration *integration, const json_t *parameters)
{
	json_int_t number = json_integer_value(json_object_get(parameters, "hold"));
	struct ic *ic = integration_component(integration, &ic_vss);
	struct vss *vss = ic ? from_ic(ic) : NULL;

	return vss && number > 0 && (uint64_t)number == vss->hold ? vss : NULL;
}

/* Whoever held the freeze is gone: the lease ends now, or when it begins, or the VM is resumed. */
void ic_vss_release_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct vss *vss = find_hold(device, parameters);

	if (vss) {
		vss->lease_ns = 0;
		if (vss->phase == VSS_FROZEN)
			ic_timer_start(&vss->timer, 0);
		end_hold(vss, "released");
	}
	call->reply(call, NULL);
}

/* Answered when the freeze is over, with how that came. */
void ic_vss_await_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct vss *vss = find_hold(device, parameters);

	if (!vss)
		call->reply(call, json_pack("{s:s}", "over", "thawed"));
	else if (vss->end)
		call->refuse(call, "somebody waits for the end of this freeze already");
	else
		vss->end = call;
}

static int vss_init(struct ic *ic)
{
	return ic_timer_init(&from_ic(ic)->timer, ic->env->loop, on_timer, from_ic(ic));
}

static void vss_cleanup(struct ic *ic)
{
	ic_timer_cleanup(&from_ic(ic)->timer);
}

/* A driver that goes away thaws by itself (Linux hv_vss_pre_suspend), or its kernel is gone. */
static void vss_closed(struct ic *ic)
{
	struct vss *vss = from_ic(ic);
	struct error err;

	ic_timer_stop(&vss->timer);
	if (vss->phase != VSS_THAWED)
		set_phase(vss, VSS_THAWED);
	end_hold(vss, "restarted");
	ic_failure(-ECONNRESET, NULL, "the freeze", &err);
	refuse(&vss->freeze, &err);
	ic_failure(-ECONNRESET, NULL, "the thaw", &err);
	refuse(&vss->thaw, &err);
}

static void vss_hold(struct ic *ic, bool held)
{
	ic_timer_hold(&from_ic(ic)->timer, held);
}

static void vss_save(struct ic *ic, struct state_writer *writer)
{
	state_put_u32(writer, "may-be-frozen", from_ic(ic)->phase > VSS_CHECKING);
}

/* Whoever froze it is not there any more. */
static int vss_restore(struct ic *ic, const struct state_node *node)
{
	struct vss *vss = from_ic(ic);
	uint32_t frozen;
	int r = state_get_u32(node, "may-be-frozen", &frozen);

	if (r < 0)
		return r;
	if (frozen && ic->state == IC_READY)
		begin_thaw(vss);
	return 0;
}

static void vss_report(struct ic *ic, json_t *report)
{
	const struct vss *vss = from_ic(ic);

	json_object_set_new(report, "file_systems", json_string(phase_names[vss->phase]));
	if (vss->phase == VSS_FROZEN)
		json_object_set_new(
			report, "thaws_in_seconds",
			json_integer((json_int_t)(ic_timer_left(&vss->timer) / NS_A_SECOND)));
	json_object_set_new(report, "freezes", json_integer((json_int_t)vss->freezes));
	json_object_set_new(report, "thaws", json_integer((json_int_t)vss->thaws));
	json_object_set_new(report, "expired", json_integer((json_int_t)vss->expired));
}

const struct ic_ops ic_vss = {
	.name = "vss",
	.class_id = GUID_INIT(0x35fa2e29, 0xea23, 0x4236, 0x96, 0xae, 0x3a, 0x6e, 0xba, 0xcb, 0xa4,
			      0x40),
	.instance_id = GUID_INIT(0x5ced1297, 0x4598, 0x4915, 0xa5, 0xfc, 0xad, 0x21, 0xbb, 0x4d,
				 0x02, 0xa4),
	.message_type = IC_VSS,
	.versions = versions,
	.version_count = ARRAY_LENGTH(versions),
	.size = sizeof(struct vss),
	.init = vss_init,
	.cleanup = vss_cleanup,
	.closed = vss_closed,
	.hold = vss_hold,
	.save = vss_save,
	.restore = vss_restore,
	.report = vss_report,
};
