/* A host's file system that is full before a growing image is: the write fails, and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "block_rig.h"

#define PIECE (1u << 20)
#define SPACE "size=12m"
#define DISK  64u /* pieces */

static uint8_t data[PIECE], back[PIECE];

static void fill(unsigned int piece)
{
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(piece * 31 + i * 7 + (i >> 9));
}

static bool run(const char *format, const char *argument)
{
	char command[256];

	snprintf(command, sizeof(command), format, argument);
	return system(command) == 0;
}

/* A small file system of the test's own process, where the host lets it. */
static bool make_place(char *place)
{
	strcpy(place, "/tmp/test_full.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(place));
	if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return false;
	mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	return !mount("tmpfs", place, "tmpfs", 0, SPACE);
}

static void open_image(struct rig *rig, const char *image)
{
	const struct block_backend *backend = block_backend_find("vhdx");
	json_t *config = json_pack("{s:s}", "name", image);
	struct block_disk *disk;
	struct error err = {""};

	ck_assert_msg(backend->open(open(image, O_RDWR | O_CLOEXEC), config, &disk, &err) == 0,
		      "%s", err.text);
	json_decref(config);
	rig_start(rig, disk);
}

static void expect_pieces(struct rig *rig, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		fill(i);
		ck_assert_int_eq(job_run(rig, BLOCK_READ, (uint64_t)i * PIECE, back, PIECE), 0);
		ck_assert_mem_eq(back, data, PIECE);
	}
}

START_TEST(a_full_host_fails_the_write_alone)
{
	char place[64], image[80];
	unsigned int written = 0;
	struct rig rig;
	int r;

	if (!make_place(place)) {
		rmdir(place);
		return;
	}
	snprintf(image, sizeof(image), "%s/a.vhdx", place);
	ck_assert(run("qemu-img create -q -f vhdx -o block_size=1M %s 64M", image));
	open_image(&rig, image);
	do {
		fill(written);
		r = job_run(&rig, BLOCK_WRITE, (uint64_t)written * PIECE, data, PIECE);
	} while (r == 0 && ++written < DISK);
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_gt(written, 0);
	/* What was written is there, can be written again, and made stable. */
	expect_pieces(&rig, written);
	fill(0);
	ck_assert_int_eq(job_run(&rig, BLOCK_WRITE, 0, data, PIECE), 0);
	ck_assert_int_eq(job_run(&rig, BLOCK_FLUSH, 0, NULL, 0), 0);
	ck_assert_int_eq(job_run(&rig, BLOCK_WRITE, (uint64_t)written * PIECE, data, PIECE),
			 -ENOSPC);
	rig_stop(&rig);
	ck_assert(run("qemu-img check -q %s", image));
	open_image(&rig, image);
	expect_pieces(&rig, written);
	rig_stop(&rig);
	umount(place);
	rmdir(place);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("image_full", &tests);

	if (!run("command -v %s >/dev/null 2>&1", "qemu-img")) {
		printf("1..0 # SKIP qemu-img is not there\n");
		return 0;
	}
	tcase_add_test(tests, a_full_host_fails_the_write_alone);
	return suite_run(suite);
}
