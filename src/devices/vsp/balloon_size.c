#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/vsp/balloon.h"

/*
 * From what the guest has to what it is to have, a step at a time.  Pages that it gives away become
 * holes in its memory; if it looks at them all the same, it finds zeroes in new ones.
 */

#define PAGE_SIZE     4096ull
/* Not less is added, whatever the guest could do. */
#define GRANULE_MIN   (2ull << 20)
/* The room is added in no more steps than this, for KVM's slots are not without end. */
#define ADD_STEPS     128u
#define ADD_BYTES_MAX (16ull << 30)

uint64_t balloon_ballooned(const struct balloon *balloon)
{
	return balloon->pages.count * PAGE_SIZE;
}

uint64_t balloon_assigned(const struct balloon *balloon)
{
	return gpa_ram_bytes(balloon->env.gpa) + balloon->added - balloon_ballooned(balloon);
}

static void begin(struct balloon *balloon, enum balloon_operation operation, uint32_t asked,
		  const void *message, uint32_t size)
{
	if (balloon_send(balloon, message, size) < 0)
		return;
	balloon->operation = operation;
	balloon->asked = asked;
}

static void finish(struct balloon *balloon)
{
	balloon->operation = BALLOON_IDLE;
	balloon->asked = 0;
	balloon_advance(balloon);
}

static void ask_for_pages(struct balloon *balloon, uint64_t pages)
{
	const struct dynmem_balloon_request message = {
		.header = {DYNMEM_BALLOON_REQUEST, sizeof(message), 0},
		.pages = (uint32_t)MIN(pages, (uint64_t)BALLOON_STEP_PAGES),
	};

	if (balloon->capabilities & DYNMEM_CAN_BALLOON)
		begin(balloon, BALLOON_TAKING, message.pages, &message, sizeof(message));
}

/* One range of the guest's answer; false for one that cannot be. */
static bool take_range(struct balloon *balloon, uint64_t range)
{
	uint64_t first = DYNMEM_RANGE_FIRST(range), count = DYNMEM_RANGE_COUNT(range);

	if (count == 0 || count > balloon->asked ||
	    !gpa_is_ram(balloon->env.gpa, first * PAGE_SIZE, count * PAGE_SIZE) ||
	    !page_set_add(&balloon->pages, first, count))
		return false;
	balloon->asked -= (uint32_t)count;
	return true;
}

/* Consecutive ranges go back to the host as one: guests give single pages in rows. */
struct run {
	uint64_t first, count;
};

static void discard_run(struct balloon *balloon, const struct run *run)
{
	if (run->count &&
	    gpa_discard(balloon->env.gpa, run->first * PAGE_SIZE, run->count * PAGE_SIZE) < 0)
		balloon->counters.failures++;
}

static void take_ranges(struct balloon *balloon, const uint8_t *ranges, uint32_t count)
{
	struct run run = {0};

	for (uint32_t i = 0; i < count; i++) {
		uint64_t range = get_le64(ranges + i * sizeof(range));

		if (!take_range(balloon, range)) {
			balloon->counters.rejected++;
			continue;
		}
		if (run.first + run.count != DYNMEM_RANGE_FIRST(range)) {
			discard_run(balloon, &run);
			run = (struct run){.first = DYNMEM_RANGE_FIRST(range)};
		}
		run.count += DYNMEM_RANGE_COUNT(range);
	}
	discard_run(balloon, &run);
}

void balloon_taken(struct balloon *balloon, const uint8_t *message, uint32_t size)
{
	struct dynmem_balloon_response response;
	uint32_t count, room = (size - (uint32_t)sizeof(response)) / (uint32_t)sizeof(uint64_t);

	memcpy(&response, message, sizeof(response));
	count = response.more_and_count >> 1;
	if (count > room)
		balloon->counters.rejected += count - room;
	take_ranges(balloon, message + sizeof(response), MIN(count, room));
	/* A guest that gave less has no more to give for now. */
	if (response.more_and_count & DYNMEM_MORE)
		return;
	if (balloon->asked)
		balloon->take_wait = BALLOON_WAIT_TICKS;
	finish(balloon);
}

static void add_ranges(struct balloon *balloon, const uint64_t *ranges, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t range = le64toh(ranges[i]);

		page_set_add(&balloon->pages, DYNMEM_RANGE_FIRST(range), DYNMEM_RANGE_COUNT(range));
	}
}

/* A request to give pages back, with as many ranges as it has. */
struct giving {
	struct dynmem_unballoon_request request;
	uint64_t ranges[DYNMEM_RANGES_MAX];
};

void balloon_take_back(struct balloon *balloon)
{
	pthread_mutex_lock(&balloon->lock);
	for (unsigned int i = 0; i < balloon->outbox_count; i++) {
		struct giving message = {0};

		memcpy(&message, balloon->outbox[i].data,
		       MIN((size_t)balloon->outbox[i].size, sizeof(message)));
		if (message.request.header.type == DYNMEM_UNBALLOON_REQUEST)
			add_ranges(balloon, message.ranges,
				   MIN(message.request.range_count, (uint32_t)DYNMEM_RANGES_MAX));
	}
	pthread_mutex_unlock(&balloon->lock);
}

static void give_pages(struct balloon *balloon, uint64_t pages)
{
	struct giving message = {.request.header.type = DYNMEM_UNBALLOON_REQUEST};
	uint64_t left = MIN(pages, (uint64_t)BALLOON_STEP_PAGES), first, count;
	uint32_t used = 0;

	while (used < DYNMEM_RANGES_MAX && page_set_take(&balloon->pages, left, &first, &count)) {
		message.ranges[used++] = htole64(DYNMEM_RANGE(first, count));
		left -= count;
	}
	message.request.range_count = used;
	message.request.header.size =
		(uint16_t)(sizeof(message.request) + used * sizeof(message.ranges[0]));
	begin(balloon, BALLOON_GIVING, 0, &message, message.request.header.size);
	/* They were the guest's to have back, and it did not hear of it. */
	if (balloon->operation != BALLOON_GIVING)
		add_ranges(balloon, message.ranges, used);
}

void balloon_given(struct balloon *balloon)
{
	finish(balloon);
}

/* The unit of what is added, a power of two; 0 where the guest wants one that the room does not
 * keep to. */
static uint64_t granule(const struct balloon *balloon)
{
	uint64_t unit = MAX(DYNMEM_HOT_ADD_MIB(balloon->capabilities) << 20, GRANULE_MIN);

	if (unit > GPA_ROOM_ALIGN)
		return 0;
	while (unit < gpa_room_bytes(balloon->env.gpa) / ADD_STEPS)
		unit *= 2;
	return unit;
}

/* Makes RAM of the room, but for what a guest before this one was told of. */
static uint64_t plug(struct balloon *balloon, uint64_t bytes)
{
	uint64_t there = gpa_plugged_bytes(balloon->env.gpa) - balloon->added;

	if (there)
		return MIN(bytes, there);
	if (!balloon->env.events || !balloon->env.events->plug_memory ||
	    balloon->env.events->plug_memory(balloon->env.context, bytes) < 0) {
		balloon->counters.failures++;
		balloon->added_all = true;
		return 0;
	}
	return bytes;
}

static void add_memory(struct balloon *balloon, uint64_t bytes)
{
	uint64_t unit = granule(balloon);
	uint64_t room = gpa_room_bytes(balloon->env.gpa) - balloon->added;
	struct dynmem_hot_add_request message = {
		.header = {DYNMEM_HOT_ADD_REQUEST, sizeof(message), 0}};

	if (!(balloon->capabilities & DYNMEM_CAN_HOT_ADD) || balloon->added_all || unit == 0)
		return;
	room = align_down(MIN(room, ADD_BYTES_MAX), unit);
	/* More than is missing, where need be: the balloon takes the rest of it. */
	bytes = MIN(align_up(bytes, unit), room);
	bytes = bytes ? plug(balloon, bytes) : 0;
	if (bytes == 0)
		return;
	message.range = DYNMEM_RANGE(
		(gpa_room_start(balloon->env.gpa) + balloon->added) / PAGE_SIZE, bytes / PAGE_SIZE);
	begin(balloon, BALLOON_ADDING, (uint32_t)(bytes / PAGE_SIZE), &message, sizeof(message));
}

void balloon_hot_added(struct balloon *balloon, const struct dynmem_hot_add_response *response)
{
	bool some = response->pages > 0;

	balloon->added += response->pages * PAGE_SIZE;
	if (response->pages < balloon->asked && (some || response->done))
		balloon->added_all = true;
	if (!some)
		balloon->add_wait = BALLOON_WAIT_TICKS;
	finish(balloon);
}

void balloon_advance(struct balloon *balloon)
{
	uint64_t assigned = balloon_assigned(balloon), target = balloon->policy.target;

	if (balloon->state != BALLOON_READY || balloon->operation != BALLOON_IDLE || balloon->held)
		return;
	if (assigned > target && !balloon->take_wait)
		ask_for_pages(balloon, (assigned - target) / PAGE_SIZE);
	else if (assigned < target && balloon->pages.count)
		give_pages(balloon, (target - assigned) / PAGE_SIZE);
	else if (assigned < target && !balloon->add_wait)
		add_memory(balloon, target - assigned);
}

void balloon_tick(void *context)
{
	struct balloon *balloon = context;
	const struct memory_report report = {
		.committed = balloon->committed,
		.available = balloon->available,
		.assigned = balloon_assigned(balloon),
		.ballooned = balloon_ballooned(balloon),
	};

	ic_timer_start(&balloon->tick, BALLOON_TICK_NS);
	if (balloon->reported)
		memory_policy_report(&balloon->policy, &report);
	balloon->reported = false;
	if (balloon->take_wait)
		balloon->take_wait--;
	if (balloon->add_wait)
		balloon->add_wait--;
	balloon_advance(balloon);
}
