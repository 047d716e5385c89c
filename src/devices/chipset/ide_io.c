#include <errno.h>

#include "base/checked.h"
#include "base/clock.h"
#include "devices/chipset/ide_internal.h"
#include "devices/table.h"

/* The steps of commands that go to a backend, on the channel's I/O thread. */

void ide_work(struct ide_channel *channel)
{
	channel->command.phase = IDE_WORK;
	/* A step that ends in another one is followed by it at once. */
	if (channel->posted || channel->in_flight || channel->stepping)
		return;
	channel->posted = true;
	io_thread_post(channel->thread, &channel->post);
}

void ide_hurry(struct ide_channel *channel)
{
	if (channel->release_posted)
		return;
	channel->release_posted = true;
	io_thread_post(channel->thread, &channel->release_post);
}

/* What no request has needed yet is made now.  -errno. */
static int attach(struct ide_channel *channel, struct ide_unit *unit)
{
	struct block_disk *disk = unit->scsi.disk;
	int r = 0;

	if (!unit->queue)
		r = disk ? disk->backend->attach(disk, channel->thread, &unit->queue) : -ENXIO;
	if (r == 0 && !unit->limits && block_limited(&unit->limiter.limits))
		r = block_limit_attach(&unit->limiter, channel->thread, &unit->limits);
	return r;
}

/* True when it is done already, with its result in early_result. */
static bool hand_over(struct ide_channel *channel)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);
	struct block_request *request = &channel->request;
	bool waits = false;

	channel->early_result = attach(channel, unit);
	if (channel->early_result < 0)
		return true;
	channel->submitting = true;
	channel->done_early = false;
	if (unit->limits)
		waits = block_limit_submit(unit->limits, unit->queue, request, channel->paused);
	else
		unit->queue->disk->backend->submit(unit->queue, request);
	channel->submitting = false;
	if (waits) {
		pthread_mutex_lock(&channel->lock);
		unit->counters.limit_waits++;
		/* A reset that came before the limit had anything to let go of. */
		if (channel->resetting)
			ide_hurry(channel);
		pthread_mutex_unlock(&channel->lock);
	}
	return channel->done_early;
}

static bool next_step(struct ide_channel *channel)
{
	const struct ata_command *command;

	while (channel->command.phase == IDE_WORK && !channel->command.held && !channel->paused &&
	       !channel->resetting) {
		command = ata_command_find(ide_unit_in_hand(channel), channel->command.code);
		channel->iov_count = 0;
		channel->request.force_unit_access = channel->request.may_unmap = false;
		if (!command->step(channel))
			continue;
		channel->request.iov = channel->iov;
		channel->request.iov_count = channel->iov_count;
		channel->begun_ns = clock_now_ns();
		return true;
	}
	return false;
}

static bool begin_step(struct ide_channel *channel)
{
	bool begun = false;

	pthread_mutex_lock(&channel->lock);
	if (!channel->in_flight) {
		channel->stepping = true;
		begun = channel->in_flight = next_step(channel);
		channel->stepping = false;
	}
	pthread_mutex_unlock(&channel->lock);
	return begun;
}

/* Once, however often it was tried. */
static void count(struct ide_channel *channel)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);
	const struct block_request *request = &channel->request;
	unsigned int timed = block_timed_as(request->operation);

	block_count(&unit->counters, request->operation, request->length);
	if (timed < BLOCK_TIMED)
		latency_add(&unit->latencies.of[timed], clock_now_ns() - channel->begun_ns);
}

/* Whether the step is kept for the resume, as the host has no room for it. */
static bool hold(struct ide_channel *channel, int result)
{
	struct ide *ide = channel->ide;
	const struct ide_unit *unit = ide_unit_in_hand(channel);
	unsigned int place = channel->index * IDE_DEVICES + channel->command.device;
	const struct block_full_disk disk = {ide_device.name, place, unit->scsi.name};

	if (channel->resetting || !block_full_keeps(&ide->full, channel->request.operation, result))
		return false;
	if (block_full_tell(&ide->full, &ide->env, &disk) < 0)
		return false;
	ata_transfer_undo(channel);
	channel->command.held = true;
	return true;
}

static void end_step_locked(struct ide_channel *channel, int result)
{
	struct ide_unit *unit = ide_unit_in_hand(channel);

	channel->in_flight = false;
	if (hold(channel, result))
		return;
	count(channel);
	if (channel->resetting)
		ide_complete_reset(channel);
	else
		ata_command_find(unit, channel->command.code)->done(channel, result);
}

static void end_step(struct ide_channel *channel, int result)
{
	pthread_mutex_lock(&channel->lock);
	channel->stepping = true;
	end_step_locked(channel, result);
	channel->stepping = false;
	pthread_mutex_unlock(&channel->lock);
}

static void run(struct ide_channel *channel)
{
	while (begin_step(channel)) {
		if (!hand_over(channel))
			return;
		end_step(channel, channel->early_result);
	}
	if (channel->draining && !channel->in_flight) {
		channel->draining = false;
		sem_post(&channel->drained);
	}
}

static void request_done(struct block_request *request, int result)
{
	struct ide_channel *channel = container_of(request, struct ide_channel, request);

	if (channel->submitting) {
		channel->done_early = true;
		channel->early_result = result;
		return;
	}
	end_step(channel, result);
	run(channel);
}

static void run_post(struct io_post *post)
{
	struct ide_channel *channel = container_of(post, struct ide_channel, post);

	pthread_mutex_lock(&channel->lock);
	channel->posted = false;
	pthread_mutex_unlock(&channel->lock);
	run(channel);
}

static void release_limits(struct ide_channel *channel)
{
	for (unsigned int i = 0; i < IDE_DEVICES; i++)
		if (channel->units[i].limits)
			block_limit_release(channel->units[i].limits);
}

static void run_release(struct io_post *post)
{
	struct ide_channel *channel = container_of(post, struct ide_channel, release_post);

	pthread_mutex_lock(&channel->lock);
	channel->release_posted = false;
	pthread_mutex_unlock(&channel->lock);
	release_limits(channel);
}

struct pause {
	struct ide_channel *channel;
	bool wait;
};

static void begin_pause(void *context)
{
	struct pause *pause = context;
	struct ide_channel *channel = pause->channel;

	pthread_mutex_lock(&channel->lock);
	channel->paused = true;
	pthread_mutex_unlock(&channel->lock);
	release_limits(channel);
	channel->draining = pause->wait = channel->in_flight;
}

void ide_pause(struct ide_channel *channel)
{
	struct pause pause = {channel, false};

	io_thread_call(channel->thread, begin_pause, &pause);
	while (pause.wait && sem_wait(&channel->drained) < 0 && errno == EINTR)
		;
}

static void end_pause(void *context)
{
	struct ide_channel *channel = context;

	pthread_mutex_lock(&channel->lock);
	channel->paused = channel->command.held = false;
	pthread_mutex_unlock(&channel->lock);
	run(channel);
}

void ide_resume(struct ide_channel *channel)
{
	io_thread_call(channel->thread, end_pause, channel);
}

static void detach_here(void *context)
{
	struct ide_unit *unit = context;

	if (unit->limits)
		block_limit_detach(unit->limits);
	if (unit->queue)
		unit->queue->disk->backend->detach(unit->queue);
	unit->limits = NULL;
	unit->queue = NULL;
}

void ide_detach(struct ide_channel *channel, struct ide_unit *unit)
{
	io_thread_call(channel->thread, detach_here, unit);
}

void ide_io_init(struct ide_channel *channel)
{
	pthread_mutex_init(&channel->lock, NULL);
	sem_init(&channel->drained, 0, 0);
	channel->post.run = run_post;
	channel->release_post.run = run_release;
	channel->request.done = request_done;
}

void ide_io_fini(struct ide_channel *channel)
{
	sem_destroy(&channel->drained);
	pthread_mutex_destroy(&channel->lock);
}
