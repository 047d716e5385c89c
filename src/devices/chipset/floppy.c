#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/block/configured.h"
#include "devices/chipset/floppy_internal.h"
#include "devices/table.h"

/*
 * The device.  Its configuration is that of a disk (devices/block/configured.h) whose image is the
 * medium; with neither "fd" nor "backend" the drive is empty.  "on_full": "report" | "pause"
 * (report).  The verb change-medium takes the same but for that, and {} to eject.  Restore wants
 * the medium that was in it, or none.
 */

#define GSI	   6
#define PORTS	   0x3f0
#define PORT_COUNT 6
#define PORT_RATE  0x3f7

/* Rates: 500, 300, 250 and 1000 kb/s. */
#define RATE_HIGH   0x1
#define RATE_DOUBLE 0x6
#define RATE_EXTRA  0x8

const struct floppy_format *floppy_format_of(uint64_t bytes)
{
	static const struct floppy_format formats[] = {
		{160 << 10, 40, 1, 8, RATE_DOUBLE}, {180 << 10, 40, 1, 9, RATE_DOUBLE},
		{320 << 10, 40, 2, 8, RATE_DOUBLE}, {360 << 10, 40, 2, 9, RATE_DOUBLE},
		{720 << 10, 80, 2, 9, RATE_DOUBLE}, {1200 << 10, 80, 2, 15, RATE_HIGH},
		{1440 << 10, 80, 2, 18, RATE_HIGH}, {1680 << 10, 80, 2, 21, RATE_HIGH},
		{1722 << 10, 82, 2, 21, RATE_HIGH}, {2880 << 10, 80, 2, 36, RATE_EXTRA},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(formats); i++)
		if (formats[i].bytes == bytes)
			return &formats[i];
	return NULL;
}

/* A medium, and its queue on the I/O thread. */
struct medium {
	struct io_thread *thread;
	struct block_disk *disk;
	const struct floppy_format *format;
	struct block_queue *queue;
	char *name;
	int result;
};

static void attach_here(void *context)
{
	struct medium *medium = context;

	medium->result =
		medium->disk->backend->attach(medium->disk, medium->thread, &medium->queue);
}

static void detach_here(void *context)
{
	struct medium *medium = context;

	medium->disk->backend->detach(medium->queue);
}

static void close_medium(struct medium *medium)
{
	if (medium->queue)
		io_thread_call(medium->thread, detach_here, medium);
	if (medium->disk)
		medium->disk->backend->close(medium->disk);
	free(medium->name);
}

static int check_medium(struct medium *medium, struct error *err)
{
	medium->format = floppy_format_of(medium->disk->geometry.bytes);
	if (!medium->format || medium->disk->geometry.logical_block > FLOPPY_SECTOR)
		return error_set(err, EINVAL,
				 "%.200s: no floppy disk has its size; give an image of 1440 KiB, "
				 "or of another standard size",
				 medium->name);
	io_thread_call(medium->thread, attach_here, medium);
	return medium->result < 0
		       ? error_host(err, -medium->result, "the floppy disk's I/O cannot be set up")
		       : 0;
}

/* All zero where there is none. */
static int open_medium(struct floppy *floppy, const json_t *config, struct medium *medium,
		       struct error *err)
{
	const char *name = json_string_value(json_object_get(config, "name"));
	int r;

	*medium = (struct medium){.thread = floppy->thread};
	if (!json_object_get(config, "fd") && !json_object_get(config, "backend"))
		return 0;
	medium->name = strdup(name ? name : "floppy");
	if (!medium->name)
		return error_memory(err, "a floppy disk");
	r = block_open_configured(config, &medium->disk, err);
	if (r == 0)
		r = check_medium(medium, err);
	if (r < 0)
		close_medium(medium);
	return r;
}

void floppy_wait(struct floppy *floppy)
{
	while (floppy->busy)
		pthread_cond_wait(&floppy->idle, &floppy->lock);
}

/* Puts one in, and takes out what was in.  Nothing that was for that goes to another. */
static void exchange(struct floppy *floppy, struct medium *medium)
{
	struct medium out;

	pthread_mutex_lock(&floppy->lock);
	floppy_wait(floppy);
	floppy_give_up(floppy);
	out = (struct medium){floppy->thread, floppy->disk, floppy->format,
			      floppy->queue,  floppy->name, 0};
	floppy->disk = medium->disk;
	floppy->format = medium->format;
	floppy->queue = medium->queue;
	floppy->name = medium->name;
	floppy->changed = true;
	pthread_mutex_unlock(&floppy->lock);
	*medium = out;
}

static int connect_ports(struct floppy *floppy)
{
	struct device_env *env = &floppy->env;
	int r = irq_level_new(env->irq, GSI, &floppy->irq);

	if (r < 0)
		return r;
	r = isa_dma_new(env->ports, env->gpa, &floppy->dma);
	if (r < 0)
		goto fail_irq;
	r = io_bus_add(env->ports, PORTS, PORT_COUNT, floppy_ports, floppy);
	if (r < 0)
		goto fail_dma;
	r = io_bus_add(env->ports, PORT_RATE, 1, floppy_rate_port, floppy);
	if (r < 0)
		goto fail_ports;
	return 0;

fail_ports:
	io_bus_remove(env->ports, PORTS);
fail_dma:
	isa_dma_free(floppy->dma);
fail_irq:
	irq_level_free(floppy->irq);
	return r;
}

static void free_device(struct floppy *floppy)
{
	pthread_cond_destroy(&floppy->idle);
	pthread_mutex_destroy(&floppy->lock);
	free(floppy);
}

static int floppy_create(const struct device_env *env, const json_t *config, void **device,
			 struct error *err)
{
	struct floppy *floppy = calloc(1, sizeof(*floppy));
	struct medium medium;
	int r;

	if (!floppy)
		return error_memory(err, "a floppy drive");
	floppy->env = *env;
	floppy->thread = env->io_threads[0];
	floppy->start.run = floppy_start;
	pthread_mutex_init(&floppy->lock, NULL);
	pthread_cond_init(&floppy->idle, NULL);
	r = block_read_on_full(config, &floppy->full.pause, err);
	if (r == 0)
		r = open_medium(floppy, config, &medium, err);
	if (r < 0)
		goto fail;
	r = connect_ports(floppy);
	if (r < 0) {
		close_medium(&medium);
		error_host(err, -r, "cannot make the floppy controller");
		goto fail;
	}
	exchange(floppy, &medium);
	floppy_power_on(floppy);
	block_close_given(config);
	*device = floppy;
	return 0;

fail:
	free_device(floppy);
	return r;
}

static void floppy_destroy(void *device)
{
	struct floppy *floppy = device;
	struct medium none = {0};

	exchange(floppy, &none);
	/* The last transfer, whose end is known by now, has left the thread behind it. */
	close_medium(&none);
	io_bus_remove(floppy->env.ports, PORT_RATE);
	io_bus_remove(floppy->env.ports, PORTS);
	isa_dma_free(floppy->dma);
	irq_level_free(floppy->irq);
	free_device(floppy);
}

static void floppy_quiesce(void *device)
{
	struct floppy *floppy = device;

	pthread_mutex_lock(&floppy->lock);
	floppy_wait(floppy);
	pthread_mutex_unlock(&floppy->lock);
}

static void floppy_unquiesce(void *device)
{
	struct floppy *floppy = device;

	pthread_mutex_lock(&floppy->lock);
	block_full_go_on(&floppy->full);
	floppy_retry(floppy);
	pthread_mutex_unlock(&floppy->lock);
}

static void floppy_reset(void *device)
{
	struct floppy *floppy = device;

	pthread_mutex_lock(&floppy->lock);
	floppy_wait(floppy);
	floppy_power_on(floppy);
	isa_dma_reset(floppy->dma);
	pthread_mutex_unlock(&floppy->lock);
}

static void verb_change_medium(void *device, const json_t *parameters, struct device_call *call)
{
	struct floppy *floppy = device;
	struct medium medium;
	struct error err;
	int r = open_medium(floppy, parameters, &medium, &err);

	block_close_given(parameters);
	if (r < 0) {
		call->refuse(call, err.text);
		return;
	}
	exchange(floppy, &medium);
	close_medium(&medium);
	call->reply(call, NULL);
}

static const struct device_verb floppy_verbs[] = {
	{"change-medium", verb_change_medium},
	{NULL, NULL},
};

const struct device_ops floppy_device = {
	.name = "floppy",
	.state_version = FLOPPY_STATE_VERSION,
	.create = floppy_create,
	.destroy = floppy_destroy,
	.reset = floppy_reset,
	.save = floppy_save,
	.restore = floppy_restore,
	.inspect = floppy_inspect,
	.quiesce = floppy_quiesce,
	.unquiesce = floppy_unquiesce,
	.verbs = floppy_verbs,
};
