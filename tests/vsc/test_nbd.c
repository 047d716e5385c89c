/* Network block devices: bulkhead-nbd as a supervisor starts it, servers of others, and the
 * worker's backend. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block_rig.h"
#include "mgmt/remote_disks.h"

#define DISK_BYTES (16u << 20)
#define COUNT	   64u

static char place[64];
static char image[100], server_socket[100];
static pid_t server;
static struct remote_disks disks;
static struct remote_disk *disk;
static struct rig rig;
static bool ide; /* where the disk is */
static uint8_t data[1 << 20], back[1 << 20];

static void setup(void)
{
	strcpy(place, "/tmp/test_nbd.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(place));
	/* The helper connects before it gives up its user. */
	snprintf(image, sizeof(image), "%s/image", place);
	snprintf(server_socket, sizeof(server_socket), "%s/socket", place);
	disks.cpus = 1;
	ide = false;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13 + (i >> 9));
}

static void end_server(int number)
{
	if (server <= 0)
		return;
	kill(server, number);
	kill(server, SIGCONT);
	waitpid(server, NULL, 0);
	server = 0;
}

static void teardown(void)
{
	char command[128];

	end_server(SIGKILL);
	snprintf(command, sizeof(command), "rm -rf %s", place);
	ck_assert_int_eq(system(command), 0);
}

static int run(const char *command)
{
	return system(command);
}

static void make_raw(void)
{
	int fd = open(image, O_RDWR | O_CREAT, 0600);

	ck_assert_int_eq(ftruncate(fd, DISK_BYTES), 0);
	close(fd);
}

static void start_server(const char *const *arguments)
{
	struct stat status;

	server = fork();
	if (server == 0) {
		execvp(arguments[0], (char *const *)arguments);
		_exit(127);
	}
	while (stat(server_socket, &status))
		ck_assert_int_eq(waitpid(server, NULL, WNOHANG), 0);
}

static int open_uri(const char *uri, struct error *err)
{
	struct run_disk options;
	int r = run_disk_parse("--disk", uri, &options, err);

	if (r)
		return r;
	r = remote_disks_open(&disks, &options, ide, &disk, err);
	run_disk_clear(&options);
	return r;
}

static int open_socket(const char *export, const char *words, struct error *err)
{
	char uri[400];

	snprintf(uri, sizeof(uri), "nbd+unix:///%s?socket=%s%s", export, server_socket, words);
	return open_uri(uri, err);
}

/* As the worker does. */
static void attach(void)
{
	const struct block_backend *backend = block_backend_find("nbd");
	int fds[REMOTE_FDS_MAX];
	unsigned int count = remote_disk_fds(disk, fds);
	json_t *config = json_object(), *lanes = json_array();
	struct block_disk *block_disk;
	struct error err;

	remote_disk_config(disk, 0, config);
	for (unsigned int i = 1; i < count; i++)
		json_array_append_new(lanes, json_integer(fds[i]));
	json_object_set_new(config, "fds", lanes);
	ck_assert_int_eq(backend->open(dup(fds[0]), config, &block_disk, &err), 0);
	json_decref(config);
	while (disk->fd_count)
		close(disk->fds[--disk->fd_count]);
	rig_start(&rig, block_disk);
}

static void begin(const char *const *arguments, const char *words)
{
	struct error err = {""};

	start_server(arguments);
	ck_assert_msg(open_socket("", words, &err) == 0, "%s", err.text);
	attach();
}

/* The helper ends as the worker lets go of the disk: whether well, and its last words. */
static bool end(char *why, size_t size)
{
	struct pollfd ended = {.fd = disk->helper.pidfd, .events = POLLIN};
	bool failed;

	rig_stop(&rig);
	ck_assert_int_eq(poll(&ended, 1, -1), 1);
	failed = helper_failed(&disk->helper, why, size);
	remote_disk_close(disk);
	return !failed;
}

static void end_well(void)
{
	char why[256];

	ck_assert_msg(end(why, sizeof(why)), "%s", why);
}

static void write_and_read(void)
{
	struct job job = {.request.force_unit_access = true};

	for (unsigned int i = 0; i < DISK_BYTES / sizeof(data); i += 3)
		ck_assert_int_eq(job_run(&rig, BLOCK_WRITE, i * sizeof(data), data, sizeof(data)),
				 0);
	job_begin(&rig, &job, BLOCK_WRITE, 4096, data + 512, 512);
	ck_assert_int_eq(job_end(&job), 0);
	ck_assert_int_eq(job_run(&rig, BLOCK_WRITE_ZEROES, 8192, NULL, 4096), 0);
	ck_assert_int_eq(job_run(&rig, BLOCK_FLUSH, 0, NULL, 0), 0);
	ck_assert_int_eq(job_run(&rig, BLOCK_READ, 0, back, sizeof(back)), 0);
	ck_assert_mem_eq(back, data, 4096);
	ck_assert_mem_eq(back + 4096, data + 512, 512);
	ck_assert_mem_eq(back + 4608, data + 4608, 8192 - 4608);
	for (unsigned int i = 0; i < 4096; i++)
		ck_assert_uint_eq(back[8192 + i], 0);
	ck_assert_mem_eq(back + 12288, data + 12288, sizeof(back) - 12288);
	ck_assert_int_eq(job_run(&rig, BLOCK_READ, 1 << 20, back, sizeof(back)), 0);
	for (unsigned int i = 0; i < 4096; i++)
		ck_assert_uint_eq(back[i], 0);
}

START_TEST(a_file_by_nbdkit)
{
	const char *const arguments[] = {"nbdkit",	"-f",	"-U",  server_socket,
					 "--threads=4", "file", image, NULL};
	uint8_t in_file[4096];
	int fd;

	make_raw();
	begin(arguments, "");
	ck_assert_uint_eq(rig.disk->geometry.bytes, DISK_BYTES);
	ck_assert_uint_eq(rig.disk->geometry.logical_block, 512);
	ck_assert(!rig.disk->geometry.read_only);
	write_and_read();
	ck_assert_int_eq(job_run(&rig, BLOCK_DISCARD, 0, NULL, 4096),
			 rig.disk->geometry.discard ? 0 : -EOPNOTSUPP);
	fd = open(image, O_RDONLY);
	ck_assert_int_eq(pread(fd, in_file, sizeof(in_file), 16384), sizeof(in_file));
	ck_assert_mem_eq(in_file, data + 16384, sizeof(in_file));
	close(fd);
	end_well();
}
END_TEST

START_TEST(a_qcow2_by_qemu_nbd)
{
	const char *const arguments[] = {"qemu-nbd", "-k", server_socket, "-f",
					 "qcow2",    "-t", image,	  NULL};
	char command[300];

	snprintf(command, sizeof(command), "qemu-img create -q -f qcow2 %s %u", image, DISK_BYTES);
	ck_assert_int_eq(run(command), 0);
	begin(arguments, "");
	ck_assert_uint_eq(rig.disk->geometry.bytes, DISK_BYTES);
	write_and_read();
	end_well();
	/* What was flushed is there for the next client, and the image is sound. */
	ck_assert_int_eq(open_socket("", "", &(struct error){""}), 0);
	attach();
	ck_assert_int_eq(job_run(&rig, BLOCK_READ, 0, back, 4096), 0);
	ck_assert_mem_eq(back, data, 4096);
	end_well();
	end_server(SIGTERM);
	snprintf(command, sizeof(command), "qemu-img check -q %s", image);
	ck_assert_int_eq(run(command), 0);
}
END_TEST

START_TEST(what_is_read_only_stays_so)
{
	const char *const arguments[] = {"nbdkit",	"-f",	"-r",  "-U",
					 server_socket, "file", image, NULL};

	make_raw();
	begin(arguments, "");
	ck_assert(rig.disk->geometry.read_only);
	ck_assert_int_eq(job_run(&rig, BLOCK_WRITE, 0, data, 512), -EROFS);
	ck_assert_int_eq(job_run(&rig, BLOCK_READ, 0, back, 512), 0);
	end_well();
	end_server(SIGTERM);
	unlink(server_socket);
}
END_TEST

/* The controller and the bus have a queue each, be there but one thread. */
START_TEST(a_disk_on_ide_has_a_queue_more)
{
	const char *const arguments[] = {"nbdkit", "-f",  "-U", server_socket,
					 "memory", "16M", NULL};
	struct rig bus;

	ide = true;
	begin(arguments, "");
	bus = rig;
	io_thread_call(rig.thread, rig_attach_here, &bus);
	ck_assert_int_eq(job_run(&rig, BLOCK_WRITE, 4096, data, 4096), 0);
	ck_assert_int_eq(job_run(&bus, BLOCK_READ, 4096, back, 4096), 0);
	ck_assert_mem_eq(back, data, 4096);
	io_thread_call(rig.thread, rig_detach_here, &bus);
	end_well();
	/* As many as a helper takes. */
	disks.cpus = 64;
	ck_assert_int_eq(open_socket("", "", &(struct error){""}), 0);
	ck_assert_uint_eq(disk->fd_count, REMOTE_FDS_MAX);
	remote_disk_close(disk);
}
END_TEST

/* Reads and writes without end, of which each is answered. */
static void all_are_answered(int number, const char *words)
{
	static struct job jobs[COUNT];
	char why[256];
	unsigned int failed = 0;

	memset(jobs, 0, sizeof(jobs));
	kill(server, SIGSTOP);
	for (unsigned int i = 0; i < COUNT; i++)
		job_begin(&rig, &jobs[i], i % 2 ? BLOCK_READ : BLOCK_WRITE, i * 65536,
			  i % 2 ? back : data, 65536);
	if (number)
		end_server(number);
	for (unsigned int i = 0; i < COUNT; i++) {
		int result = job_end(&jobs[i]);

		ck_assert(result == 0 || result == -EIO);
		failed += result < 0;
	}
	ck_assert_uint_gt(failed, 0);
	ck_assert_int_eq(job_run(&rig, BLOCK_FLUSH, 0, NULL, 0), -EIO);
	ck_assert_int_eq(job_run(&rig, BLOCK_READ, 0, back, 512), -EIO);
	ck_assert(!end(why, sizeof(why)));
	ck_assert_msg(strstr(why, words), "%s", why);
}

START_TEST(a_server_that_is_killed_fails_all)
{
	const char *const arguments[] = {"nbdkit", "-f",  "-U", server_socket,
					 "memory", "16M", NULL};

	begin(arguments, "");
	write_and_read();
	all_are_answered(SIGKILL, "the server is gone");
}
END_TEST

START_TEST(a_server_that_is_silent_fails_all)
{
	const char *const arguments[] = {"nbdkit", "-f",  "-U", server_socket,
					 "memory", "16M", NULL};

	begin(arguments, ",timeout=1");
	write_and_read();
	all_are_answered(0, "has not answered for 1 s");
}
END_TEST

static void expect_refusal(int result, const struct error *err, const char *words)
{
	ck_assert_int_lt(result, 0);
	ck_assert_msg(strstr(err->text, words), "%s", err->text);
	ck_assert_int_eq(disks.list[0].disks != NULL, 0);
}

START_TEST(what_cannot_be_opened_is_told)
{
	const char *const arguments[] = {"qemu-nbd", "-k", server_socket, "-f",	 "raw",
					 "-t",	     "-x", "there",	  image, NULL};
	struct error err = {""};

	make_raw();
	expect_refusal(open_socket("x", "", &err), &err, "cannot connect: No such file");
	start_server(arguments);
	expect_refusal(open_socket("nowhere", "", &err), &err, "nowhere");
	expect_refusal(open_uri("nbd+unix:///x?socket=relative", &err), &err, "absolute path");
	expect_refusal(open_uri("nbd+unix:///x", &err), &err, "give nbd://");
	expect_refusal(open_uri("nbd:///x", &err), &err, "give nbd://");
	expect_refusal(open_uri("nbd://host:0/x", &err), &err, "give nbd://");
	expect_refusal(open_uri("nbd://host:port/x", &err), &err, "give nbd://");
	expect_refusal(open_uri("nbd://host/%zz", &err), &err, "give nbd://");
	expect_refusal(open_uri("nbd://a.invalid/x,direct", &err), &err, "direct");
	expect_refusal(open_uri("nbd://a.invalid/x,format=raw", &err), &err, "format=");
	expect_refusal(open_uri("/x,timeout=3", &err), &err, "timeout=");
	ck_assert_int_eq(open_socket("%74here", "", &err), 0);
	remote_disk_close(disk);
}
END_TEST

/* A program that speaks something else, and then hangs up. */
START_TEST(what_is_no_server_is_told)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct error err = {""};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", server_socket);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	server = fork();
	if (server == 0) {
		int fd = accept(listener, NULL, NULL);

		_exit(write(fd, data, 4096) != 4096);
	}
	close(listener);
	expect_refusal(open_socket("", "", &err), &err, "the server refuses it");
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("nbd", &tests);

	if (run("command -v nbdkit qemu-nbd qemu-img >/dev/null 2>&1")) {
		printf("1..0 # SKIP nbdkit or qemu-nbd is not there\n");
		return 0;
	}
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_file_by_nbdkit);
	tcase_add_test(tests, a_qcow2_by_qemu_nbd);
	tcase_add_test(tests, what_is_read_only_stays_so);
	tcase_add_test(tests, a_disk_on_ide_has_a_queue_more);
	tcase_add_test(tests, a_server_that_is_killed_fails_all);
	tcase_add_test(tests, a_server_that_is_silent_fails_all);
	tcase_add_test(tests, what_cannot_be_opened_is_told);
	tcase_add_test(tests, what_is_no_server_is_told);
	return suite_run(suite);
}
