#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "suite.h"
#include "vmm/machine.h"
#include "vmm/partition.h"

/* A Generation 1 partition: its firmware runs from the reset vector, and sees below 1 MiB what
 * partition_shadow says. */

#define RAM	      (4u << 20)
#define FIRMWARE_SIZE 0x20000u
#define PORT_NEXT     0x508 /* the guest reads what to write: the low half of EAX */
#define PORT_RESULT   0x500 /* and says what it then reads there */
#define WAIT_SECONDS  60
#define IN_FIRMWARE   0x5a
#define NOTHING	      0xff

/* What the guest sees at one address, after it has written there. */
struct step {
	uint32_t gpa;
	enum partition_shadow shadow;
	uint8_t ram;	 /* what the host puts there before, */
	uint8_t written; /* what the guest writes, */
	uint8_t read;	 /* reads, */
	uint8_t left;	 /* and leaves in RAM */
};

static const struct step steps[] = {
	{0xe0000, SHADOW_FIRMWARE, 1, 2, IN_FIRMWARE, 1},
	{0xe0000, SHADOW_READ_ONLY, 1, 2, 1, 1},
	{0xe0000, SHADOW_WRITE_ONLY, 1, 2, IN_FIRMWARE, 2},
	{0xe0000, SHADOW_RAM, 1, 2, 2, 2},
	{0xe0000, SHADOW_FIRMWARE, 3, 4, IN_FIRMWARE, 3},
	{0xc0000, SHADOW_FIRMWARE, 1, 2, NOTHING, 1},
	{0xc0000, SHADOW_WRITE_ONLY, 1, 2, NOTHING, 2},
	{0xc0000, SHADOW_RAM, 1, 2, 2, 2},
	{0xc0000, SHADOW_READ_ONLY, 1, 2, 1, 1},
	{0xdc000, SHADOW_FIRMWARE, 1, 2, NOTHING, 1},
	{0xb0000, SHADOW_FIRMWARE, 1, 2, NOTHING, 1}, /* VGA's: nobody is there */
};

/* At F000:0100; the read word has the segment above its lowest byte. */
static const uint8_t program[] = {
	0xba, 0x08, 0x05,	/* mov dx, PORT_NEXT */
	0x66, 0xed,		/* in eax, dx */
	0x66, 0x89, 0xc3,	/* mov ebx, eax */
	0x66, 0xc1, 0xeb, 0x08, /* shr ebx, 8 */
	0x8e, 0xdb,		/* mov ds, bx */
	0xa2, 0x00, 0x00,	/* mov [0], al */
	0xa0, 0x00, 0x00,	/* mov al, [0] */
	0xba, 0x00, 0x05,	/* mov dx, PORT_RESULT */
	0xee,			/* out dx, al */
	0xeb, 0xe6,		/* jmp back */
};

struct fixture {
	struct partition *partition;
	uint8_t *image;
	sem_t told;
	unsigned int step, resets;
	int wrong; /* a step that went otherwise, or -1 */
	char failure[256];
};

static int kvm_fd = -1;

static void on_reset(void *context)
{
	struct fixture *f = context;

	f->resets++;
	sem_post(&f->told);
}

static void on_crash(void *context, const struct hv_crash *crash)
{
}

static void on_failed(void *context, const char *sentence)
{
	struct fixture *f = context;

	snprintf(f->failure, sizeof(f->failure), "%s", sentence);
	sem_post(&f->told);
}

static const struct partition_events events = {
	.reset = on_reset,
	.crash = on_crash,
	.failed = on_failed,
};

/* The next step; past the last one the guest gets the first again. */
static void on_next(void *context, struct io_access *access)
{
	struct fixture *f = context;
	const struct step *step = &steps[f->step % ARRAY_LENGTH(steps)];

	gpa_write(partition_gpa(f->partition), step->gpa, &step->ram, 1);
	if (step->gpa >= MACHINE_SHADOW_BASE &&
	    partition_shadow(f->partition, step->gpa, MACHINE_SHADOW_UNIT, step->shadow) < 0)
		f->wrong = (int)f->step;
	access->value = step->gpa >> 4 << 8 | step->written;
}

static void on_result(void *context, struct io_access *access)
{
	struct fixture *f = context;
	const struct step *step = &steps[f->step % ARRAY_LENGTH(steps)];
	uint8_t left = 0;

	gpa_read(partition_gpa(f->partition), step->gpa, &left, 1);
	if (access->value != step->read || left != step->left)
		f->wrong = (int)f->step;
	if (++f->step % ARRAY_LENGTH(steps) == 0)
		sem_post(&f->told);
}

static void wait_told(struct fixture *f)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_SECONDS;
	ck_assert_int_eq(sem_timedwait(&f->told, &until), 0);
	ck_assert_str_eq(f->failure, "");
}

static void make(struct fixture *f, unsigned int vp_count)
{
	const struct partition_config config = {
		.kvm_fd = kvm_fd,
		.generation1 = true,
		.vp_count = vp_count,
		.ram_bytes = RAM,
		.events = &events,
		.context = f,
	};
	struct error err = {.text = ""};

	memset(f, 0, sizeof(*f));
	f->wrong = -1;
	sem_init(&f->told, 0, 0);
	ck_assert_msg(partition_new(&config, &f->partition, &err) == 0, "%s", err.text);
	io_bus_add(partition_ports(f->partition), PORT_NEXT, 4, on_next, f);
	io_bus_add(partition_ports(f->partition), PORT_RESULT, 1, on_result, f);
}

static void set_up(struct fixture *f, unsigned int vp_count)
{
	/* jmp F000:0100, at the reset vector. */
	static const uint8_t vector[] = {0xea, 0x00, 0x01, 0x00, 0xf0};
	struct error err = {.text = ""};

	make(f, vp_count);
	f->image = malloc(FIRMWARE_SIZE);
	memset(f->image, IN_FIRMWARE, FIRMWARE_SIZE);
	memcpy(f->image + FIRMWARE_SIZE - 16, vector, sizeof(vector));
	memcpy(f->image + 0x10100, program, sizeof(program));
	ck_assert_msg(partition_set_firmware(f->partition, f->image, FIRMWARE_SIZE, &err) == 0,
		      "%s", err.text);
}

static void start(struct fixture *f)
{
	struct error err = {.text = ""};

	ck_assert_msg(partition_start(f->partition, NULL, NULL, &err) == 0, "%s", err.text);
	ck_assert_msg(partition_await(f->partition, &err) == 0, "%s", err.text);
	partition_resume(f->partition);
}

static void tear_down(struct fixture *f)
{
	partition_free(f->partition);
	sem_destroy(&f->told);
	free(f->image);
}

START_TEST(firmware_runs_and_is_shadowed)
{
	struct fixture f;

	set_up(&f, 2);
	start(&f);
	wait_told(&f);
	ck_assert_int_eq(f.wrong, -1);
	tear_down(&f);
}
END_TEST

/* However often, also while all of it is shown as RAM, which has no firmware. */
START_TEST(resets_start_the_firmware_again)
{
	struct fixture f;
	struct error err;

	set_up(&f, 2);
	start(&f);
	for (unsigned int i = 0; i < 5; i++) {
		wait_told(&f);
		partition_pause(f.partition);
		ck_assert_int_eq(partition_shadow(f.partition, MACHINE_SHADOW_BASE,
						  MACHINE_SHADOW_END - MACHINE_SHADOW_BASE,
						  SHADOW_RAM),
				 0);
		ck_assert_int_eq(partition_reset(f.partition, &err), 0);
		f.step = 0;
		while (sem_trywait(&f.told) == 0)
			;
		partition_resume(f.partition);
	}
	wait_told(&f);
	ck_assert_int_eq(f.wrong, -1);
	ck_assert_uint_eq(f.resets, 0);
	tear_down(&f);
}
END_TEST

START_TEST(places_are_checked)
{
	static const struct {
		uint64_t gpa, size;
	} bad[] = {{0xbc000, 0x4000}, {0xc1000, 0x4000},  {0xc0000, 0x1000},
		   {0xfc000, 0x8000}, {0x100000, 0x4000}, {0xfc000, UINT64_MAX - 0x3fff}};
	struct fixture f;

	make(&f, 1);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		ck_assert_int_eq(partition_shadow(f.partition, bad[i].gpa, bad[i].size, SHADOW_RAM),
				 -EINVAL);
	ck_assert_int_eq(partition_shadow(f.partition, 0xc0000, 0, SHADOW_RAM), 0);
	tear_down(&f);
}
END_TEST

START_TEST(firmware_has_a_size)
{
	static const size_t bad[] = {0, 0x10000, 0x28000, 0x50000};
	struct error err = {.text = ""};
	struct fixture f;

	make(&f, 1);
	f.image = calloc(1, 0x50000);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		ck_assert_int_eq(partition_set_firmware(f.partition, f.image, bad[i], &err),
				 -EINVAL);
		ck_assert_ptr_nonnull(strstr(err.text, "KiB"));
	}
	ck_assert_int_eq(partition_set_firmware(f.partition, f.image, 0x40000, &err), 0);
	tear_down(&f);
}
END_TEST

static void *save(struct fixture *f, size_t *size)
{
	struct state_writer *writer = state_writer_new();
	void *tree;

	ck_assert_int_eq(partition_save(f->partition, writer), 0);
	ck_assert_int_eq(state_finish(writer, &tree, size), 0);
	state_writer_free(writer);
	return tree;
}

static const void *saved_chip(const void *tree, size_t size, const char *chip, size_t *length)
{
	struct state_node root, partition, chips;
	const void *bytes;

	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "partition", 1, &partition), 0);
	ck_assert_int_eq(state_child(&partition, "irqchip", 1, &chips), 0);
	bytes = state_find_bytes(&chips, chip, length);
	ck_assert_ptr_nonnull(bytes);
	return bytes;
}

/* PICs and PIT too are as at power-on after a reset, and as they were after a restore. */
START_TEST(chips_are_saved)
{
	static const char *const chips[] = {"pic-master", "pic-slave", "ioapic", "pit"};
	struct state_node root;
	size_t size, again_size;
	void *tree, *again;
	struct fixture f;

	set_up(&f, 1);
	tree = save(&f, &size);
	ck_assert_int_eq(partition_reset(f.partition, NULL), 0);
	again = save(&f, &again_size);
	for (size_t i = 0; i < ARRAY_LENGTH(chips); i++) {
		size_t length, again_length;
		const void *bytes = saved_chip(tree, size, chips[i], &length);

		/* The last of the PIT is when it was loaded, by the host's clock. */
		if (i == 3)
			length = 16;
		ck_assert_mem_eq(bytes, saved_chip(again, again_size, chips[i], &again_length),
				 length);
	}
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(partition_restore(f.partition, &root), 0);
	free(again);
	free(tree);
	tear_down(&f);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("partition_memory", &tests);

	kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_fd < 0) {
		printf("1..0 # SKIP /dev/kvm: %s\n", strerror(errno));
		return 0;
	}
	tcase_set_timeout(tests, 4 * WAIT_SECONDS);
	tcase_add_test(tests, firmware_runs_and_is_shadowed);
	tcase_add_test(tests, resets_start_the_firmware_again);
	tcase_add_test(tests, places_are_checked);
	tcase_add_test(tests, firmware_has_a_size);
	tcase_add_test(tests, chips_are_saved);
	return suite_run(suite);
}
