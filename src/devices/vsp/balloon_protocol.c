#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "devices/vsp/balloon.h"

/* The guest's messages: versions and capabilities are agreed on, reports kept, answers handed on.
 */

#define PAGE_SIZE 4096ull

/* Which state may follow which. */
static const uint8_t transitions[BALLOON_STATES] = {
	[BALLOON_CLOSED] = 1 << BALLOON_VERSION,
	[BALLOON_VERSION] = 1 << BALLOON_CAPABILITIES | 1 << BALLOON_REFUSED | 1 << BALLOON_CLOSED,
	[BALLOON_CAPABILITIES] = 1 << BALLOON_READY | 1 << BALLOON_CLOSED,
	[BALLOON_READY] = 1 << BALLOON_CLOSED,
	[BALLOON_REFUSED] = 1 << BALLOON_CLOSED,
};

static void set_state(struct balloon *balloon, enum balloon_state state)
{
	assert(transitions[balloon->state] & 1 << state);
	balloon->state = state;
}

/* What one channel was for. */
static void forget_session(struct balloon *balloon)
{
	balloon->version = 0;
	balloon->capabilities = 0;
	balloon->added_all = false;
	balloon->operation = BALLOON_IDLE;
	balloon->asked = 0;
	balloon->take_wait = balloon->add_wait = 0;
	balloon->reported = false;
	balloon->committed = balloon->available = 0;
}

void balloon_opened(struct balloon *balloon, struct channel *channel)
{
	balloon->channel = channel;
	forget_session(balloon);
	set_state(balloon, BALLOON_VERSION);
}

void balloon_closed(struct balloon *balloon)
{
	balloon->channel = NULL;
	set_state(balloon, BALLOON_CLOSED);
	ic_timer_stop(&balloon->tick);
	balloon_take_back(balloon);
	balloon_boxes_clear(balloon);
	forget_session(balloon);
}

/* A driver that goes keeps the pages that it took for us from its kernel, and what was added stays
 * in use (Linux drivers/hv/hv_balloon.c, balloon_remove): whichever driver of that kernel comes
 * next is given them back.  A new kernel has all of its RAM, and none that was added. */
void balloon_disconnected(struct balloon *balloon)
{
	page_set_clear(&balloon->pages);
	balloon->added = 0;
}

void balloon_start_anew(struct balloon *balloon)
{
	const struct memory_limits limits = balloon->policy.limits;

	/* What management has set stays so. */
	if (!balloon->policy.fixed)
		memory_policy_init(&balloon->policy, &limits);
}

static void accept(struct balloon *balloon, uint16_t type, uint32_t transaction_id, bool accepted)
{
	const struct dynmem_accept message = {
		.header = {type, sizeof(message), transaction_id},
		.flags = accepted ? DYNMEM_ACCEPTED : 0,
	};

	balloon_send(balloon, &message, sizeof(message));
}

static bool version_known(const struct balloon *balloon, uint32_t version)
{
	return version <= balloon->max_version &&
	       (version == DYNMEM_VERSION_1 || version == DYNMEM_VERSION_2 ||
		version == DYNMEM_VERSION_3);
}

static bool handle_version(struct balloon *balloon, const void *message)
{
	struct dynmem_version_request request;
	bool known;

	if (balloon->state != BALLOON_VERSION)
		return false;
	memcpy(&request, message, sizeof(request));
	known = version_known(balloon, request.version);
	if (known) {
		balloon->version = request.version;
		set_state(balloon, BALLOON_CAPABILITIES);
	} else if (request.flags & DYNMEM_LAST_ATTEMPT) {
		set_state(balloon, BALLOON_REFUSED);
	}
	accept(balloon, DYNMEM_VERSION_RESPONSE, request.header.transaction_id, known);
	return true;
}

/* A guest says by this how large it may become. */
static void tell_maximum(struct balloon *balloon)
{
	const struct dynmem_info message = {
		.header = {DYNMEM_INFO, sizeof(message), 0},
		.info_size = sizeof(message) - offsetof(struct dynmem_info, info_type),
		.info_type = DYNMEM_INFO_MAX_PAGES,
		.data_size = sizeof(message.max_pages),
		.max_pages = balloon->policy.limits.maximum / PAGE_SIZE,
	};

	balloon_send(balloon, &message, sizeof(message));
}

static bool handle_capabilities(struct balloon *balloon, const void *message)
{
	struct dynmem_capabilities report;

	if (balloon->state != BALLOON_CAPABILITIES)
		return false;
	memcpy(&report, message, sizeof(report));
	balloon->capabilities = report.capabilities;
	accept(balloon, DYNMEM_CAPABILITIES_RESPONSE, report.header.transaction_id, true);
	if (balloon->version >= DYNMEM_VERSION_2)
		tell_maximum(balloon);
	set_state(balloon, BALLOON_READY);
	ic_timer_start(&balloon->tick, BALLOON_TICK_NS);
	return true;
}

/* Pages to bytes; no guest has more than the cap. */
static uint64_t bytes_of(uint64_t pages)
{
	return MIN(pages, UINT64_MAX / PAGE_SIZE / 2) * PAGE_SIZE;
}

static bool handle_status(struct balloon *balloon, const void *message)
{
	struct dynmem_status status;

	if (balloon->state != BALLOON_READY)
		return false;
	memcpy(&status, message, sizeof(status));
	balloon->committed = bytes_of(status.committed);
	balloon->available = bytes_of(status.available);
	balloon->reported = true;
	balloon->counters.reports++;
	return true;
}

static bool handle_hot_added(struct balloon *balloon, const void *message)
{
	struct dynmem_hot_add_response response;

	if (balloon->operation != BALLOON_ADDING)
		return false;
	memcpy(&response, message, sizeof(response));
	if (response.pages > balloon->asked)
		return false;
	balloon_hot_added(balloon, &response);
	return true;
}

static bool handle(struct balloon *balloon, const struct dynmem_header *header,
		   const uint8_t *message, uint32_t size)
{
	switch (header->type) {
	case DYNMEM_VERSION_REQUEST:
		return size >= sizeof(struct dynmem_version_request) &&
		       handle_version(balloon, message);
	case DYNMEM_CAPABILITIES_REPORT:
		return size >= sizeof(struct dynmem_capabilities) &&
		       handle_capabilities(balloon, message);
	case DYNMEM_STATUS_REPORT:
		return size >= sizeof(struct dynmem_status) && handle_status(balloon, message);
	case DYNMEM_BALLOON_RESPONSE:
		if (balloon->operation != BALLOON_TAKING ||
		    size < sizeof(struct dynmem_balloon_response))
			return false;
		balloon_taken(balloon, message, size);
		return true;
	case DYNMEM_UNBALLOON_RESPONSE:
		if (balloon->operation != BALLOON_GIVING)
			return false;
		balloon_given(balloon);
		return true;
	case DYNMEM_HOT_ADD_RESPONSE:
		return size >= sizeof(struct dynmem_hot_add_response) &&
		       handle_hot_added(balloon, message);
	default:
		return false;
	}
}

void balloon_handle(struct balloon *balloon, const uint8_t *message, uint32_t size)
{
	struct dynmem_header header;

	memcpy(&header, message, sizeof(header));
	/* A packet's end may be padding. */
	if (header.size < sizeof(header) || header.size > size ||
	    !handle(balloon, &header, message, header.size))
		balloon->counters.unexpected++;
}
