#include <sys/mman.h>
#include <unistd.h>

#include "devices/table.h"
#include "devices/vsp/display.h"
#include "fuzz.h"
#include "vsc_device.h"

/*
 * A saved state of any bytes, restored into a machine with every synthetic device: it is refused,
 * or the machine goes on with it and can be saved again.
 */

#define RAM	(8ull << 20)
#define THREADS 2u

struct part {
	const struct device_ops *ops;
	void *device;
};

static struct vsc *vsc;
static struct io_thread *threads[THREADS];
static struct part parts[6];
static unsigned int part_count;

static void add_part(const struct device_ops *ops, json_t *config)
{
	const struct device_env env = {
		.io_threads = threads, .io_thread_count = THREADS, .vp_count = 1};
	struct part *part = &parts[part_count++];

	part->ops = ops;
	require(vsc_device_create(vsc, ops, &env, config, &part->device, NULL) == 0);
}

static void set_up(void)
{
	const struct vsc_config config = {.ram_bytes = RAM, .ram_room = RAM};
	int vram = memfd_create("vram", MFD_CLOEXEC);

	require(vram >= 0 && ftruncate(vram, DISPLAY_FILE_BYTES) == 0);
	vsc = vsc_new(&config);
	for (unsigned int i = 0; i < THREADS; i++) {
		require(io_thread_new("restore", 64, &threads[i]) == 0);
		require(io_thread_start(threads[i], NULL, NULL) == 0);
	}
	add_part(&storvsp_device, json_pack("{s:[{s:s, s:i}, {s:s}]}", "disks", "backend", "null",
					    "bytes", 1 << 20, "type", "cdrom"));
	add_part(&netvsp_device, json_pack("{s:s, s:s, s:b}", "mac", "52:54:00:12:34:56", "backend",
					   "null", "echo", 1));
	add_part(&memory_device, json_pack("{s:b, s:i, s:I}", "dynamic", 1, "minimum", 4096,
					   "maximum", (json_int_t)(2 * RAM)));
	add_part(&integration_device, json_object());
	add_part(&hvsock_device, json_object());
	add_part(&display_device, json_pack("{s:i}", "vram_fd", vram));
}

static void quiesce(void)
{
	for (unsigned int i = 0; i < part_count; i++)
		if (parts[i].ops->quiesce)
			parts[i].ops->quiesce(parts[i].device);
}

static void unquiesce(void)
{
	for (unsigned int i = 0; i < part_count; i++)
		if (parts[i].ops->unquiesce)
			parts[i].ops->unquiesce(parts[i].device);
}

static int restore(const struct fuzz_input *input)
{
	struct state_node root, node;
	int r = state_open(input->data, input->size, &root);

	if (r == 0)
		r = vmbus_restore(vsc_vmbus(vsc), &root);
	for (unsigned int i = 0; i < part_count && r == 0; i++) {
		const struct device_ops *ops = parts[i].ops;

		r = state_child(&root, ops->name, ops->state_version, &node);
		if (r == 0)
			r = ops->restore(parts[i].device, &node);
	}
	return r;
}

static void save(void)
{
	struct state_writer *writer = state_writer_new();
	size_t size;
	void *tree;

	vmbus_settle(vsc_vmbus(vsc));
	for (unsigned int i = 0; i < part_count; i++) {
		state_begin(writer, parts[i].ops->name, parts[i].ops->state_version);
		parts[i].ops->save(parts[i].device, writer);
		state_end(writer);
	}
	vmbus_save(vsc_vmbus(vsc), writer);
	require(state_finish(writer, &tree, &size) == 0);
	state_writer_free(writer);
	free(tree);
}

/* A VM whose restore fails is never let go on. */
static void run(void *context)
{
	quiesce();
	if (restore(context) == 0) {
		save();
		unquiesce();
		quiesce();
		save();
	}
	vmbus_reset(vsc_vmbus(vsc));
	for (unsigned int i = 0; i < part_count; i++)
		parts[i].ops->reset(parts[i].device);
	unquiesce();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	if (!vsc)
		set_up();
	vsc_main(vsc, run, &input);
	return 0;
}
