/* The floppy controller by its ports, with media in memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "devices/chipset/floppy_internal.h"
#include "devices/table.h"
#include "machine_fixture.h"
#include "suite.h"

#define RAM    (1u << 20)
#define DOR    0x3f2
#define STATUS 0x3f4
#define FIFO   0x3f5
#define RATE   0x3f7
#define RUN    0x1c /* motor, interrupts and DMA, no reset */
#define BUFFER 0x10000u
#define READ   0xe6
#define WRITE  0xc5
#define GSI    6
#define HD     1474560

static struct machine machine;
static struct io_thread *thread;
static struct gpa_space *gpa;
static struct floppy *floppy;
static uint8_t image[HD], got[HD];
static int media[4], media_count;
static const char *on_full = "report";

/* A descriptor of an image of that size, whose sectors all differ. */
static int make_image(size_t bytes)
{
	int fd = memfd_create("floppy", MFD_CLOEXEC);

	for (size_t i = 0; i < bytes; i++)
		image[i % HD] = (uint8_t)(i / 512 * 3 + i);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	ck_assert_int_ge(pwrite(fd, image, bytes < HD ? bytes : HD, 0), 0);
	media[media_count++] = dup(fd);
	return fd;
}

static void make(size_t bytes, bool read_only)
{
	char config[100] = "{}";

	if (bytes)
		snprintf(config, sizeof(config),
			 "{\"fd\":%d,\"name\":\"a.img\",\"read_only\":%s,\"on_full\":\"%s\"}",
			 make_image(bytes), read_only ? "true" : "false", on_full);
	floppy = machine_add(&machine, "floppy", config);
}

static void make_machine(struct machine *into)
{
	machine_init(into);
	into->env.gpa = gpa;
	into->env.io_threads = &thread;
	into->env.io_thread_count = 1;
}

static void set_up(void)
{
	media_count = 0;
	ck_assert_int_eq(gpa_space_new(RAM, &gpa, NULL), 0);
	ck_assert_int_eq(io_thread_new("io", 16, &thread), 0);
	ck_assert_int_eq(io_thread_start(thread, NULL, NULL), 0);
	make_machine(&machine);
}

static void tear_down(void)
{
	device_find("floppy")->destroy(floppy);
	io_thread_free(thread);
	machine_fini(&machine);
	gpa_space_free(gpa);
	while (media_count > 0)
		close(media[--media_count]);
}

static uint8_t in(uint16_t port)
{
	return (uint8_t)machine_in(&machine, port, 1);
}

static void out(uint16_t port, uint8_t value)
{
	machine_out(&machine, port, 1, value);
}

static bool interrupted(void)
{
	return irq_gsi_asserted(machine.env.irq, GSI);
}

static void wait_ready(void)
{
	while (!(in(STATUS)&0x80))
		usleep(100);
}

static void command(const uint8_t *bytes, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		wait_ready();
		out(FIFO, bytes[i]);
	}
}

#define COMMAND(...) command((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* All that it has to say. */
static unsigned int result(uint8_t *bytes)
{
	unsigned int count = 0;

	wait_ready();
	while ((in(STATUS)&0xd0) == 0xd0 && count < FLOPPY_RESULT_MAX)
		bytes[count++] = in(FIFO);
	return count;
}

static void expect(const uint8_t *bytes, unsigned int count)
{
	uint8_t there[FLOPPY_RESULT_MAX];

	ck_assert_uint_eq(result(there), count);
	for (unsigned int i = 0; i < count; i++)
		ck_assert_msg(there[i] == bytes[i], "byte %u is %#x, not %#x", i, there[i],
			      bytes[i]);
	ck_assert_uint_eq(in(STATUS), 0x80);
}

#define EXPECT(...) expect((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* Out of reset, as drivers do it; the drive's rate is that of high density. */
static void start(bool dma)
{
	out(DOR, 0x18);
	ck_assert_uint_eq(in(STATUS), 0);
	out(DOR, RUN);
	wait_ready();
	ck_assert(interrupted());
	for (uint8_t i = 0; i < 4; i++) {
		COMMAND(0x08);
		ck_assert(!interrupted());
		EXPECT(0xc0 | i, 0);
	}
	COMMAND(0x08);
	EXPECT(0x80);
	COMMAND(0x03, 0xaf, dma ? 0x02 : 0x03);
	out(RATE, 0);
}

static void program_dma(bool to_memory, uint32_t count)
{
	out(0x0a, 4 | 2);
	out(0x0c, 0);
	out(0x0b, (to_memory ? 0x44 : 0x48) | 2);
	out(0x04, (uint8_t)BUFFER);
	out(0x04, (uint8_t)(BUFFER >> 8));
	out(0x81, BUFFER >> 16);
	out(0x05, (uint8_t)(count - 1));
	out(0x05, (uint8_t)((count - 1) >> 8));
	out(0x0a, 2);
}

static void seek_to(uint8_t track)
{
	COMMAND(0x0f, 0, track);
	ck_assert(interrupted());
	COMMAND(0x08);
	EXPECT(0x20, track);
}

START_TEST(after_power_on)
{
	make(HD, false);
	ck_assert_uint_eq(in(0x3f0), 0xff);
	ck_assert_uint_eq(in(DOR), 0);
	ck_assert_uint_eq(in(STATUS), 0);
	start(true);
	COMMAND(0x10);
	EXPECT(0x90);
	COMMAND(0x0e);
	EXPECT(0, 0, 0, 0, 0xaf, 0x02, 0, 0, 0x20, 0);
	COMMAND(0x18); /* an 82078's */
	EXPECT(0x80);
	COMMAND(0x13, 0, 0x57, 0x11);
	COMMAND(0x12, 0x0c);
	COMMAND(0x94);
	EXPECT(0x10);
	COMMAND(0x0e);
	EXPECT(0, 0, 0, 0, 0xaf, 0x02, 0, 0x8c, 0x57, 0x11);
	/* Locked, they outlive a reset. */
	start(true);
	COMMAND(0x0e);
	EXPECT(0, 0, 0, 0, 0xaf, 0x02, 0, 0x8c, 0x57, 0x11);
	COMMAND(0x14);
	EXPECT(0);
	out(STATUS, 0x80);
	ck_assert(interrupted());
	COMMAND(0x0e);
	EXPECT(0, 0, 0, 0, 0xaf, 0x02, 0, 0, 0x20, 0);
}
END_TEST

START_TEST(the_interrupt_is_gated)
{
	make(HD, false);
	out(DOR, 0x14);
	ck_assert(!interrupted());
	out(DOR, RUN);
	ck_assert(interrupted());
}
END_TEST

START_TEST(seeks)
{
	make(HD, false);
	start(true);
	ck_assert_uint_eq(in(RATE), 0x80);
	seek_to(5);
	/* The first step over a medium: it is no news any more. */
	ck_assert_uint_eq(in(RATE), 0);
	COMMAND(0x04, 0);
	EXPECT(0x28);
	COMMAND(0xcf, 0, 3);
	COMMAND(0x08);
	EXPECT(0x20, 8);
	COMMAND(0x8f, 0, 10);
	COMMAND(0x08);
	EXPECT(0x20, 0);
	seek_to(79);
	COMMAND(0x07, 0);
	COMMAND(0x08);
	EXPECT(0x20, 0);
	COMMAND(0x04, 0);
	EXPECT(0x38);
	/* Further out than it steps at once. */
	seek_to(82);
	COMMAND(0x07, 0);
	COMMAND(0x08);
	EXPECT(0x70, 3);
	COMMAND(0x07, 1);
	COMMAND(0x08);
	EXPECT(0x71, 0);
}
END_TEST

START_TEST(reads_by_dma)
{
	make(HD, false);
	start(true);
	program_dma(true, 3 * 512);
	COMMAND(READ, 0, 0, 0, 2, 2, 18, 0x1b, 0xff);
	EXPECT(0, 0, 0, 0, 0, 5, 2);
	ck_assert_int_eq(gpa_read(gpa, BUFFER, got, 3 * 512), 0);
	ck_assert_mem_eq(got, image + 512, 3 * 512);
	/* Over both sides, to the end. */
	seek_to(79);
	program_dma(true, 36 * 512);
	COMMAND(READ, 0, 79, 0, 1, 2, 18, 0x1b, 0xff);
	EXPECT(0, 0, 0, 80, 0, 1, 2);
	ck_assert_int_eq(gpa_read(gpa, BUFFER, got, 36 * 512), 0);
	ck_assert_mem_eq(got, image + 79 * 36 * 512, 36 * 512);
	/* One side, and then the count has not ended. */
	program_dma(true, 36 * 512);
	COMMAND(0x46, 4, 79, 1, 18, 2, 18, 0x1b, 0xff);
	EXPECT(0x44, 0x80, 0, 80, 1, 1, 2);
	/* Of a sector, a part. */
	program_dma(true, 100);
	COMMAND(READ, 0, 79, 0, 1, 2, 18, 0x1b, 0xff);
	EXPECT(0, 0, 0, 79, 0, 2, 2);
	/* A track from its start. */
	program_dma(true, 512);
	COMMAND(0x42, 0, 79, 0, 7, 2, 18, 0x1b, 0xff);
	EXPECT(0, 0, 0, 79, 0, 2, 2);
}
END_TEST

START_TEST(tells_with_an_interrupt)
{
	make(HD, false);
	start(true);
	program_dma(true, 512);
	COMMAND(READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
	wait_ready();
	ck_assert(interrupted());
	in(FIFO);
	ck_assert(!interrupted());
}
END_TEST

START_TEST(writes_by_dma)
{
	make(HD, false);
	start(true);
	ck_assert_int_eq(gpa_fill(gpa, BUFFER, 0xa5, 1024), 0);
	program_dma(false, 700);
	COMMAND(WRITE, 4, 0, 1, 1, 2, 18, 0x1b, 0xff);
	EXPECT(4, 0, 0, 0, 1, 3, 2);
	ck_assert_int_eq(pread(media[0], got, 1024, 18 * 512), 1024);
	for (unsigned int i = 0; i < 1024; i++)
		ck_assert_uint_eq(got[i], i < 700 ? 0xa5 : 0);
	/* Not yet programmed anew. */
	COMMAND(WRITE, 4, 0, 1, 1, 2, 18, 0x1b, 0xff);
	EXPECT(0x44, 0x10, 0, 0, 1, 1, 2);
}
END_TEST

START_TEST(by_the_fifo)
{
	make(HD, false);
	start(false);
	COMMAND(READ, 0, 0, 0, 17, 2, 17, 0x1b, 0xff);
	wait_ready();
	ck_assert_uint_eq(in(STATUS), 0xf0);
	ck_assert(interrupted());
	for (unsigned int i = 0; i < 512; i++)
		got[i] = in(FIFO);
	ck_assert_mem_eq(got, image + 16 * 512, 512);
	EXPECT(0x40, 0x80, 0, 0, 1, 1, 2);
	COMMAND(WRITE, 0, 0, 0, 3, 2, 3, 0x1b, 0xff);
	ck_assert_uint_eq(in(STATUS), 0xb0);
	for (unsigned int i = 0; i < 512; i++)
		out(FIFO, (uint8_t)~i);
	EXPECT(0x40, 0x80, 0, 0, 1, 1, 2);
	ck_assert_int_eq(pread(media[0], got, 512, 2 * 512), 512);
	for (unsigned int i = 0; i < 512; i++)
		ck_assert_uint_eq(got[i], (uint8_t)~i);
}
END_TEST

START_TEST(errors)
{
	make(HD, _i == 1);
	start(true);
	program_dma(true, 512);
	COMMAND(READ, 0, 1, 0, 1, 2, 18, 0x1b, 0xff); /* the heads are elsewhere */
	EXPECT(0x40, 0x04, 0x10, 1, 0, 1, 2);
	COMMAND(READ, 0, 0, 1, 1, 2, 18, 0x1b, 0xff); /* the other side */
	EXPECT(0x40, 0x04, 0, 0, 1, 1, 2);
	COMMAND(READ, 0, 0, 0, 19, 2, 19, 0x1b, 0xff);
	EXPECT(0x40, 0x04, 0, 0, 0, 19, 2);
	COMMAND(READ, 0, 0, 0, 0, 2, 18, 0x1b, 0xff);
	EXPECT(0x40, 0x04, 0, 0, 0, 0, 2);
	COMMAND(READ, 0, 0, 0, 1, 3, 18, 0x1b, 0xff); /* larger sectors */
	EXPECT(0x40, 0x04, 0, 0, 0, 1, 2);
	COMMAND(READ, 1, 0, 0, 1, 2, 18, 0x1b, 0xff); /* no such drive */
	EXPECT(0x41, 0x01, 0, 0, 0, 1, 2);
	out(RATE, 2);
	COMMAND(0x4a, 0);
	EXPECT(0x40, 0x01, 0, 0, 0, 1, 2);
	out(RATE, 0);
	COMMAND(0x4a, 0);
	EXPECT(0, 0, 0, 0, 0, 1, 2);
	COMMAND(0x4a, 4);
	EXPECT(4, 0, 0, 0, 1, 2, 2);
	program_dma(false, 512);
	COMMAND(WRITE, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
	if (_i == 1)
		EXPECT(0x40, 0x02, 0, 0, 0, 1, 2);
	else
		EXPECT(0, 0, 0, 0, 0, 2, 2);
	COMMAND(0x04, 0);
	if (_i == 1)
		EXPECT(0x78);
	else
		EXPECT(0x38);
	/* The implied seek finds its way. */
	COMMAND(0x13, 0, 0x50, 0);
	program_dma(true, 512);
	COMMAND(READ, 0, 40, 0, 1, 2, 18, 0x1b, 0xff);
	EXPECT(0, 0, 0, 40, 0, 2, 2);
	COMMAND(READ, 0, 80, 0, 1, 2, 18, 0x1b, 0xff);
	EXPECT(0x40, 0x01, 0, 80, 0, 1, 2);
}
END_TEST

START_TEST(formats_a_track)
{
	uint8_t list[4 * 18];

	make(HD, false);
	start(true);
	for (uint8_t i = 0; i < 18; i++)
		memcpy(list + 4 * i, (uint8_t[]){2, 1, i + 1, 2}, 4);
	ck_assert_int_eq(gpa_write(gpa, BUFFER, list, sizeof(list)), 0);
	seek_to(2);
	program_dma(false, sizeof(list));
	COMMAND(0x4d, 4, 2, 18, 0x54, 0xf6);
	EXPECT(4, 0, 0, 2, 1, 1, 2);
	ck_assert_int_eq(pread(media[0], got, 20 * 512, (2 * 36 + 17) * 512), 20 * 512);
	ck_assert_mem_eq(got, image + (2 * 36 + 17) * 512, 512);
	for (unsigned int i = 512; i < 19 * 512; i++)
		ck_assert_uint_eq(got[i], 0xf6);
	ck_assert_mem_eq(got + 19 * 512, image + (2 * 36 + 36) * 512, 512);
	/* Of another track, or denser than the medium. */
	list[0] = 3;
	ck_assert_int_eq(gpa_write(gpa, BUFFER, list, sizeof(list)), 0);
	program_dma(false, sizeof(list));
	COMMAND(0x4d, 4, 2, 18, 0x54, 0xf6);
	EXPECT(0x44, 0x04, 0, 2, 1, 1, 2);
	COMMAND(0x4d, 4, 2, 21, 0x54, 0xf6);
	EXPECT(0x44, 0x04, 0, 2, 1, 1, 2);
}
END_TEST

START_TEST(verifies)
{
	make(HD, false);
	start(true);
	COMMAND(0xd6, 0x80, 0, 0, 1, 2, 18, 0x1b, 4);
	EXPECT(0, 0, 0, 0, 0, 5, 2);
	/* A count of 0 is 256, more than a cylinder has. */
	COMMAND(0xd6, 0x80, 0, 0, 1, 2, 18, 0x1b, 0);
	EXPECT(0x40, 0x80, 0, 1, 0, 1, 2);
	COMMAND(0x56, 0, 0, 0, 1, 2, 18, 0x1b, 0);
	EXPECT(0x40, 0x80, 0, 1, 0, 1, 2);
}
END_TEST

/* A reset in the middle of a read ends when that has ended. */
START_TEST(reset_amid_a_transfer)
{
	make(HD, false);
	start(true);
	for (unsigned int i = 0; i < 20; i++) {
		program_dma(true, 512);
		COMMAND(READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
		start(true);
	}
	program_dma(true, 512);
	COMMAND(READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
	EXPECT(0, 0, 0, 0, 0, 2, 2);
}
END_TEST

START_TEST(other_sizes)
{
	static const struct {
		size_t bytes;
		uint8_t rate, cylinders, heads, sectors;
	} sizes[] = {
		{160 << 10, 2, 40, 1, 8},   {180 << 10, 2, 40, 1, 9},	{320 << 10, 2, 40, 2, 8},
		{360 << 10, 1, 40, 2, 9},   {720 << 10, 2, 80, 2, 9},	{1200 << 10, 0, 80, 2, 15},
		{1680 << 10, 0, 80, 2, 21}, {2880 << 10, 3, 80, 2, 36},
	};
	uint8_t last = sizes[_i].cylinders - 1, sectors = sizes[_i].sectors;
	uint8_t head = sizes[_i].heads - 1;

	make(sizes[_i].bytes, false);
	start(true);
	out(RATE, sizes[_i].rate);
	seek_to(last);
	program_dma(true, 512);
	COMMAND(READ, (uint8_t)(head << 2), last, head, sectors, 2, sectors, 0x1b, 0xff);
	EXPECT((uint8_t)(head << 2), 0, 0, last + (head ? 1 : 0), head ? 0 : 1, 1, 2);
	COMMAND(READ, 4, last, 1, sectors + 1, 2, sectors + 1, 0x1b, 0xff);
	EXPECT(0x44, head ? 0x04 : 0x01, 0, last, 1, sectors + 1, 2);
	ck_assert_uint_eq(sizes[_i].bytes, 512u * sectors * sizes[_i].heads * sizes[_i].cylinders);
}
END_TEST

static char said[512];
static bool refused;

static void on_reply(struct device_call *call, json_t *reply)
{
	json_decref(reply);
	refused = false;
}

static void on_refuse(struct device_call *call, const char *sentence)
{
	snprintf(said, sizeof(said), "%s", sentence);
	refused = true;
}

static void change_medium(json_t *parameters)
{
	struct device_call call = {on_reply, on_refuse};

	refused = true;
	device_find("floppy")->verbs[0].handle(floppy, parameters, &call);
	json_decref(parameters);
}

START_TEST(media_change)
{
	make(0, false);
	start(true);
	seek_to(3);
	ck_assert_uint_eq(in(RATE), 0x80);
	COMMAND(0x4a, 0);
	EXPECT(0x40, 0x01, 0, 3, 0, 1, 2);
	change_medium(json_pack("{s:i}", "fd", make_image(1000 * 512)));
	ck_assert(refused);
	ck_assert_ptr_nonnull(strstr(said, "1440 KiB"));
	change_medium(json_pack("{s:i,s:s}", "fd", make_image(HD), "name", "b.img"));
	ck_assert_msg(!refused, "%s", said);
	ck_assert_uint_eq(in(RATE), 0x80);
	seek_to(0);
	ck_assert_uint_eq(in(RATE), 0);
	/* Only with its motor on. */
	program_dma(true, 512);
	COMMAND(READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
	EXPECT(0, 0, 0, 0, 0, 2, 2);
	/* Data comes for a medium that is gone by then. */
	COMMAND(0x03, 0xaf, 0x03);
	COMMAND(WRITE, 0, 0, 0, 3, 2, 3, 0x1b, 0xff);
	change_medium(json_object());
	ck_assert(!refused);
	machine_copy_state("floppy", floppy, floppy);
	for (unsigned int i = 0; i < 512; i++)
		out(FIFO, 1);
	EXPECT(0x40, 0x01, 0, 0, 0, 3, 2);
	ck_assert_uint_eq(in(RATE), 0x80);
	out(DOR, 0x0c);
	ck_assert_uint_eq(in(RATE), 0);
}
END_TEST

START_TEST(saved_and_restored)
{
	const struct device_ops *ops = device_find("floppy");
	struct machine other;
	struct floppy *twin;
	char config[64];

	make(HD, false);
	start(false);
	seek_to(1);
	COMMAND(0x13, 0, 0x57, 0x11);
	COMMAND(READ, 0, 1, 0, 2, 2, 2, 0x1b, 0xff);
	wait_ready();
	for (unsigned int i = 0; i < 100; i++)
		got[i] = in(FIFO);
	ops->quiesce(floppy);
	make_machine(&other);
	snprintf(config, sizeof(config), "{\"fd\":%d}", dup(media[0]));
	twin = machine_add(&other, "floppy", config);
	machine_copy_state("floppy", floppy, twin);
	ck_assert(irq_gsi_asserted(other.env.irq, GSI));
	for (unsigned int i = 100; i < 512; i++)
		got[i] = (uint8_t)machine_in(&other, FIFO, 1);
	ck_assert_mem_eq(got, image + 37 * 512, 512);
	ck_assert_uint_eq(machine_in(&other, FIFO, 1), 0x40);
	machine_copy_state("floppy", twin, twin);
	machine_refuses("floppy", twin, "output", 0x100);
	ops->reset(twin);
	ck_assert_uint_eq(machine_in(&other, STATUS, 1), 0);
	ops->destroy(twin);
	machine_fini(&other);
}
END_TEST

/* Restores what it has in hand now. */
static int restore_itself(void)
{
	struct state_node root, node;
	size_t size;
	void *tree = machine_save("floppy", floppy, &size);
	int r;

	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "floppy", FLOPPY_STATE_VERSION, &node), 0);
	r = floppy_restore(floppy, &node);
	free(tree);
	return r;
}

START_TEST(no_command_is_longer_than_it_is)
{
	make(HD, false);
	start(true);
	COMMAND(0x03, 0xaf);
	ck_assert_int_eq(restore_itself(), 0);
	for (uint32_t count = 3; count <= FLOPPY_COMMAND_MAX; count++) {
		floppy->command_count = count;
		ck_assert_int_eq(restore_itself(), -EINVAL);
	}
	floppy->command_count = 1;
	floppy->command[0] = 0x1f; /* there is none */
	ck_assert_int_eq(restore_itself(), -EINVAL);
	/* Nor is more taken than there is room for. */
	floppy->command[0] = 0x10;
	floppy->command_count = FLOPPY_COMMAND_MAX;
	COMMAND(0xa5);
	ck_assert_uint_le(floppy->command_count, FLOPPY_COMMAND_MAX);
	EXPECT(0x90);
}
END_TEST

static int restore_as(enum floppy_phase phase, enum floppy_kind kind)
{
	floppy->phase = phase;
	floppy->transfer.kind = kind;
	return restore_itself();
}

START_TEST(data_goes_one_way)
{
	make(HD, false);
	start(false);
	COMMAND(READ, 0, 0, 0, 17, 2, 17, 0x1b, 0xff);
	wait_ready();
	ck_assert_int_eq(restore_as(FLOPPY_GIVE, FLOPPY_READ), 0);
	ck_assert_int_eq(restore_as(FLOPPY_GIVE, FLOPPY_WRITE), -EINVAL);
	ck_assert_int_eq(restore_as(FLOPPY_GIVE, FLOPPY_VERIFY), -EINVAL);
	ck_assert_int_eq(restore_as(FLOPPY_TAKE, FLOPPY_WRITE), 0);
	ck_assert_int_eq(restore_as(FLOPPY_TAKE, FLOPPY_VERIFY), -EINVAL);
	ck_assert_int_eq(restore_as(FLOPPY_TAKE, FLOPPY_READ), -EINVAL);
	/* Were it so, what is given would begin at its start all the same. */
	for (unsigned int i = 0; i < 512; i++)
		out(FIFO, 0);
	wait_ready();
	ck_assert_uint_eq(floppy->data_at, 0);
	for (unsigned int i = 0; i < 512; i++)
		got[i] = in(FIFO);
	ck_assert_mem_eq(got, image + 16 * 512, 512);
	EXPECT(0x40, 0x80, 0, 0, 1, 1, 2);
}
END_TEST

/* A host without room. */

static struct {
	struct block_backend backend; /* the medium's, but for what it says to writes */
	void (*submit)(struct block_queue *queue, struct block_request *request);
	int result; /* of writes, if not 0 */
	unsigned int tries, told;
} full;

static int say(void *context, const char *id, json_t *event)
{
	const char *name = json_string_value(json_object_get(event, "full"));

	ck_assert_str_eq(id, "floppy");
	ck_assert_str_eq(name, "a.img");
	ck_assert_int_eq(json_integer_value(json_object_get(event, "lun")), 0);
	json_decref(event);
	full.told++;
	event_loop_stop(machine.env.loop, 0);
	return 0;
}

static const struct device_events listening = {.say = say};

static void submit_full(struct block_queue *queue, struct block_request *request)
{
	full.tries++;
	if (request->operation == BLOCK_WRITE && full.result)
		request->done(request, full.result);
	else
		full.submit(queue, request);
}

static void put_in(struct floppy *into)
{
	full.backend = *into->disk->backend;
	full.submit = full.backend.submit;
	full.backend.submit = submit_full;
	into->disk->backend = &full.backend;
}

static void set_up_full(void)
{
	set_up();
	machine.env.events = &listening;
	memset(&full, 0, sizeof(full));
	full.result = -ENOSPC;
	on_full = "pause";
	make(HD, false);
	put_in(floppy);
	start(true);
	ck_assert_int_eq(gpa_fill(gpa, BUFFER, 0xa5, 1024), 0);
	program_dma(false, 700);
}

static void hear(unsigned int count)
{
	while (full.told < count)
		event_loop_run(machine.env.loop);
	ck_assert_uint_eq(full.told, count);
	floppy_device.quiesce(floppy); /* waits for the I/O thread */
	ck_assert_uint_eq(in(STATUS), 0x10);
	ck_assert(!interrupted());
}

#define BEGIN_WRITE()  COMMAND(WRITE, 4, 0, 1, 1, 2, 18, 0x1b, 0xff)
#define EXPECT_WRITE() EXPECT(4, 0, 0, 0, 1, 3, 2)

static void expect_written(void)
{
	ck_assert_int_eq(pread(media[0], got, 1024, 18 * 512), 1024);
	for (unsigned int i = 0; i < 1024; i++)
		ck_assert_uint_eq(got[i], i < 700 ? 0xa5 : 0);
}

/* By DMA, whose count has ended before; the guest's memory is not looked at again. */
START_TEST(a_write_without_room_waits_for_the_resume)
{
	BEGIN_WRITE();
	hear(1);
	ck_assert_int_eq(gpa_fill(gpa, BUFFER, 0x11, 1024), 0);
	floppy_device.unquiesce(floppy);
	hear(2);
	full.result = 0;
	floppy_device.unquiesce(floppy);
	EXPECT_WRITE();
	expect_written();
	ck_assert_uint_eq(full.tries, 3);
	ck_assert_uint_eq(floppy->writes, 2);
	ck_assert_uint_eq(floppy->errors, 0);
}
END_TEST

START_TEST(a_format_waits_too)
{
	uint8_t list[4 * 18];

	for (uint8_t i = 0; i < 18; i++)
		memcpy(list + 4 * i, (uint8_t[]){0, 1, i + 1, 2}, 4);
	ck_assert_int_eq(gpa_write(gpa, BUFFER, list, sizeof(list)), 0);
	program_dma(false, sizeof(list));
	COMMAND(0x4d, 4, 2, 18, 0x54, 0xf6);
	hear(1);
	ck_assert_int_eq(restore_itself(), 0);
	full.result = 0;
	floppy_device.unquiesce(floppy);
	EXPECT(4, 0, 0, 0, 1, 1, 2);
	ck_assert_int_eq(pread(media[0], got, 18 * 512, 18 * 512), 18 * 512);
	for (unsigned int i = 0; i < 18 * 512; i++)
		ck_assert_uint_eq(got[i], 0xf6);
}
END_TEST

START_TEST(a_saved_state_has_the_write)
{
	const struct device_ops *ops = device_find("floppy");
	struct floppy *first = floppy;
	struct machine other;
	char config[64];

	BEGIN_WRITE();
	hear(1);
	make_machine(&other);
	snprintf(config, sizeof(config), "{\"fd\":%d}", dup(media[0]));
	floppy = machine_add(&other, "floppy", config);
	machine_copy_state("floppy", first, floppy);
	ops->destroy(first);
	machine_fini(&machine);
	machine = other;
	ops->unquiesce(floppy);
	EXPECT_WRITE();
	expect_written();
}
END_TEST

START_TEST(what_is_held_is_a_write)
{
	BEGIN_WRITE();
	hear(1);
	ck_assert_int_eq(restore_as(FLOPPY_EXECUTE, FLOPPY_READ), -EINVAL);
	ck_assert_int_eq(restore_as(FLOPPY_EXECUTE, FLOPPY_VERIFY), -EINVAL);
	ck_assert_int_eq(restore_as(FLOPPY_EXECUTE, FLOPPY_FORMAT), -EINVAL);
	ck_assert_int_eq(restore_as(FLOPPY_EXECUTE, FLOPPY_WRITE), 0);
	floppy->transfer.last = 18;
	floppy->transfer.bytes = 4 * 18;
	ck_assert_int_eq(restore_as(FLOPPY_EXECUTE, FLOPPY_FORMAT), 0);
	floppy->transfer.sectors = 0;
	ck_assert_int_eq(restore_itself(), -EINVAL);
}
END_TEST

START_TEST(a_reset_gives_it_up)
{
	BEGIN_WRITE();
	hear(1);
	start(true);
	floppy_device.unquiesce(floppy);
	full.result = 0;
	program_dma(true, 512);
	COMMAND(READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
	EXPECT(0, 0, 0, 0, 0, 2, 2);
	ck_assert_uint_eq(full.tries, 2);
}
END_TEST

/* It was not for that one. */
START_TEST(another_medium_does_not_get_it)
{
	BEGIN_WRITE();
	hear(1);
	change_medium(json_pack("{s:i,s:s}", "fd", make_image(HD), "name", "b.img"));
	ck_assert(!refused);
	ck_assert(interrupted());
	floppy_device.unquiesce(floppy);
	EXPECT(0x44, 0x20, 0x20, 0, 1, 1, 2);
	ck_assert_int_eq(pread(media[1], got, 1024, 18 * 512), 1024);
	ck_assert_mem_eq(got, image + 18 * 512, 1024);
}
END_TEST

START_TEST(all_else_fails_as_ever)
{
	full.result = -EIO;
	BEGIN_WRITE();
	EXPECT(0x44, 0x20, 0x20, 0, 1, 1, 2);
	floppy->full.pause = false;
	full.result = -ENOSPC;
	program_dma(false, 700);
	BEGIN_WRITE();
	EXPECT(0x44, 0x20, 0x20, 0, 1, 1, 2);
	ck_assert_uint_eq(full.told, 0);
}
END_TEST

static void add_full(Suite *suite)
{
	TCase *tcase = tcase_create("full");

	tcase_add_checked_fixture(tcase, set_up_full, tear_down);
	tcase_add_test(tcase, a_write_without_room_waits_for_the_resume);
	tcase_add_test(tcase, a_format_waits_too);
	tcase_add_test(tcase, a_saved_state_has_the_write);
	tcase_add_test(tcase, what_is_held_is_a_write);
	tcase_add_test(tcase, a_reset_gives_it_up);
	tcase_add_test(tcase, another_medium_does_not_get_it);
	tcase_add_test(tcase, all_else_fails_as_ever);
	suite_add_tcase(suite, tcase);
}

int main(void)
{
	TCase *tcase;
	Suite *suite = suite_of("floppy", &tcase);

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, after_power_on);
	tcase_add_test(tcase, the_interrupt_is_gated);
	tcase_add_test(tcase, seeks);
	tcase_add_test(tcase, reads_by_dma);
	tcase_add_test(tcase, tells_with_an_interrupt);
	tcase_add_test(tcase, writes_by_dma);
	tcase_add_test(tcase, by_the_fifo);
	tcase_add_loop_test(tcase, errors, 0, 2);
	tcase_add_test(tcase, formats_a_track);
	tcase_add_test(tcase, verifies);
	tcase_add_test(tcase, reset_amid_a_transfer);
	tcase_add_loop_test(tcase, other_sizes, 0, 8);
	tcase_add_test(tcase, media_change);
	tcase_add_test(tcase, saved_and_restored);
	tcase_add_test(tcase, no_command_is_longer_than_it_is);
	tcase_add_test(tcase, data_goes_one_way);
	add_full(suite);
	return suite_run(suite);
}
