/* A disk that a helper reaches, with a helper that does as it is told. */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "block_rig.h"
#include "devices/block/remote_wire.h"

#define DISK_BYTES (8u << 20)
#define MANY	   100u

enum manner {
	HONEST,
	ANSWERS_LATE,	 /* not before all that a lane has slots for has been asked */
	HAS_NO_SPACE,	 /* for writes */
	CLOSES,		 /* after the first request */
	ANSWERS_ANOTHER, /* slot than that which asked */
	ANSWERS_TWICE,
	ANSWERS_BEYOND, /* the slots */
	SILENT,
};

static struct helper {
	enum manner manner;
	int fd; /* its end */
	uint8_t *memory;
	uint8_t *disk;
	unsigned int commands[8]; /* how many of each came */
	unsigned int fua;
	pthread_t thread;
} helper;

static struct rig rig;
static uint8_t data[1 << 20], back[1 << 20];

static bool receive_all(void *buffer, size_t bytes)
{
	return recv(helper.fd, buffer, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

static void send_answer(uint32_t slot, uint32_t error)
{
	const struct remote_answer answer = {slot, error};

	send(helper.fd, &answer, sizeof(answer), MSG_NOSIGNAL);
}

static uint32_t carry_out(const struct remote_request *request)
{
	uint8_t *slot = helper.memory + (size_t)request->slot * REMOTE_SLOT_BYTES;

	helper.commands[request->command]++;
	helper.fua += request->flags & REMOTE_FLAG_FUA;
	switch (request->command) {
	case REMOTE_READ:
		memcpy(slot, helper.disk + request->offset, request->length);
		break;
	case REMOTE_WRITE:
		if (helper.manner == HAS_NO_SPACE)
			return ENOSPC;
		memcpy(helper.disk + request->offset, slot, request->length);
		break;
	case REMOTE_ZERO:
	case REMOTE_TRIM:
		memset(helper.disk + request->offset, 0, request->length);
		break;
	}
	return 0;
}

static void answer(const struct remote_request *request)
{
	uint32_t error = carry_out(request);

	switch (helper.manner) {
	case CLOSES:
		shutdown(helper.fd, SHUT_RDWR);
		break;
	case ANSWERS_ANOTHER:
		send_answer((request->slot + 1) % REMOTE_SLOTS, 0);
		break;
	case ANSWERS_TWICE:
		send_answer(request->slot, 0);
		send_answer(request->slot, 0);
		break;
	case ANSWERS_BEYOND:
		send_answer(request->slot + REMOTE_SLOTS, 0);
		break;
	case SILENT:
		break;
	default:
		send_answer(request->slot, error);
	}
}

static void *help(void *unused)
{
	struct remote_request request, late[REMOTE_SLOTS];
	unsigned int count = 0;

	while (receive_all(&request, sizeof(request))) {
		if (helper.manner != ANSWERS_LATE) {
			answer(&request);
			continue;
		}
		late[count++] = request;
		/* In the other order. */
		while (count == REMOTE_SLOTS || (count && helper.manner != ANSWERS_LATE)) {
			helper.manner = HONEST;
			answer(&late[--count]);
		}
	}
	return NULL;
}

static void start(enum manner manner, const char *abilities)
{
	const struct block_backend *backend = block_backend_find("nbd");
	json_t *config = json_loads(abilities, 0, NULL);
	struct block_disk *disk;
	struct error err;
	int pair[2], fd = memfd_create("disk", 0);

	ck_assert_ptr_nonnull(config);
	ck_assert_int_eq(ftruncate(fd, REMOTE_LANES_MAX * REMOTE_LANE_BYTES), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	helper = (struct helper){.manner = manner, .fd = pair[1], .disk = calloc(1, DISK_BYTES)};
	helper.memory = mmap(NULL, REMOTE_LANE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	json_object_set_new(config, "bytes", json_integer(DISK_BYTES));
	json_object_set_new(config, "block", json_integer(512));
	json_object_set_new(config, "fds", json_pack("[i]", pair[0]));
	ck_assert_int_eq(backend->open(fd, config, &disk, &err), 0);
	json_decref(config);
	close(pair[0]);
	rig_start(&rig, disk);
	pthread_create(&helper.thread, NULL, help, NULL);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + (i >> 9));
}

#define ALL "{\"flush\": true, \"fua\": true, \"trim\": true, \"zero\": true}"

static void stop(void)
{
	rig_stop(&rig);
	shutdown(helper.fd, SHUT_RDWR);
	pthread_join(helper.thread, NULL);
	close(helper.fd);
	munmap(helper.memory, REMOTE_LANE_BYTES);
	free(helper.disk);
}

START_TEST(data_comes_back)
{
	start(HONEST, ALL);
	ck_assert_int_eq(job_run(&rig, BLOCK_WRITE, 512, data, sizeof(data)), 0);
	ck_assert_mem_eq(helper.disk + 512, data, sizeof(data));
	ck_assert_int_eq(job_run(&rig, BLOCK_READ, 512, back, sizeof(back)), 0);
	ck_assert_mem_eq(back, data, sizeof(data));
	ck_assert_int_eq(job_run(&rig, BLOCK_FLUSH, 0, NULL, 0), 0);
	ck_assert_int_eq(job_run(&rig, BLOCK_DISCARD, 512, NULL, 1024), 0);
	ck_assert_int_eq(job_run(&rig, BLOCK_WRITE_ZEROES, 4096, NULL, DISK_BYTES - 4096), 0);
	ck_assert_uint_eq(helper.commands[REMOTE_FLUSH], 1);
	ck_assert_uint_eq(helper.commands[REMOTE_TRIM], 1);
	ck_assert_uint_eq(helper.commands[REMOTE_ZERO], 1);
	ck_assert_mem_eq(helper.disk + 2048, data + 1536, 2048);
	ck_assert_uint_eq(helper.disk[600] | helper.disk[5000], 0);
	stop();
}
END_TEST

/* More at once than there are slots, answered in another order than asked. */
START_TEST(many_at_once)
{
	static struct job jobs[MANY];

	start(ANSWERS_LATE, ALL);
	memset(jobs, 0, sizeof(jobs));
	for (unsigned int i = 0; i < MANY; i++)
		job_begin(&rig, &jobs[i], BLOCK_WRITE, i * 4096, data + i * 4096, 4096);
	for (unsigned int i = 0; i < MANY; i++)
		ck_assert_int_eq(job_end(&jobs[i]), 0);
	ck_assert_mem_eq(helper.disk, data, MANY * 4096);
	stop();
}
END_TEST

START_TEST(a_stable_write_is_stable)
{
	struct job job = {.request.force_unit_access = true};

	start(HONEST, ALL);
	job_begin(&rig, &job, BLOCK_WRITE, 0, data, sizeof(data));
	ck_assert_int_eq(job_end(&job), 0);
	ck_assert_uint_eq(helper.fua, 4);
	ck_assert_uint_eq(helper.commands[REMOTE_FLUSH], 0);
	stop();
	/* A server that has no such thing is told to flush. */
	start(HONEST, "{\"flush\": true}");
	job_begin(&rig, &job, BLOCK_WRITE, 0, data, sizeof(data));
	ck_assert_int_eq(job_end(&job), 0);
	ck_assert_uint_eq(helper.fua, 0);
	ck_assert_uint_eq(helper.commands[REMOTE_FLUSH], 1);
	stop();
}
END_TEST

START_TEST(what_a_server_cannot)
{
	start(HONEST, "{}");
	ck_assert_int_eq(job_run(&rig, BLOCK_WRITE, 0, data, 8192), 0);
	ck_assert_int_eq(job_run(&rig, BLOCK_FLUSH, 0, NULL, 0), 0);
	ck_assert_int_eq(job_run(&rig, BLOCK_DISCARD, 0, NULL, 512), -EOPNOTSUPP);
	ck_assert_int_eq(job_run(&rig, BLOCK_WRITE_ZEROES, 4096, NULL, 1 << 20), 0);
	ck_assert_mem_eq(helper.disk, data, 4096);
	ck_assert_uint_eq(helper.disk[4096], 0);
	ck_assert_uint_eq(helper.commands[REMOTE_FLUSH] + helper.commands[REMOTE_ZERO], 0);
	stop();
	start(HONEST, "{\"read_only\": true, \"trim\": true}");
	ck_assert_int_eq(job_run(&rig, BLOCK_WRITE, 0, data, 512), -EROFS);
	ck_assert_int_eq(job_run(&rig, BLOCK_DISCARD, 0, NULL, 512), -EROFS);
	ck_assert_int_eq(job_run(&rig, BLOCK_READ, 0, back, 512), 0);
	stop();
}
END_TEST

START_TEST(a_servers_errors_arrive)
{
	start(HAS_NO_SPACE, ALL);
	ck_assert_int_eq(job_run(&rig, BLOCK_WRITE, 0, data, sizeof(data)), -ENOSPC);
	ck_assert_int_eq(job_run(&rig, BLOCK_READ, 0, back, 512), 0);
	stop();
}
END_TEST

/* Whatever a helper does to a lane, each request is answered: those under way, those that wait for
 * a slot, and those that come later. */
START_TEST(a_lane_that_ends_fails_all)
{
	static const enum manner manners[] = {CLOSES, ANSWERS_ANOTHER, ANSWERS_TWICE,
					      ANSWERS_BEYOND};
	static struct job jobs[MANY];
	unsigned int good = 0;

	start(manners[_i], ALL);
	memset(jobs, 0, sizeof(jobs));
	for (unsigned int i = 0; i < MANY; i++)
		job_begin(&rig, &jobs[i], BLOCK_READ, 0, back, 4096);
	for (unsigned int i = 0; i < MANY; i++) {
		int result = job_end(&jobs[i]);

		ck_assert(result == 0 || result == -EIO);
		good += result == 0;
	}
	ck_assert_uint_lt(good, MANY);
	ck_assert_int_eq(job_run(&rig, BLOCK_READ, 0, back, 512), -EIO);
	ck_assert_int_eq(job_run(&rig, BLOCK_FLUSH, 0, NULL, 0), -EIO);
	stop();
}
END_TEST

START_TEST(a_silent_helper_that_dies_fails_all)
{
	struct job job = {.result = 1};

	start(SILENT, ALL);
	job_begin(&rig, &job, BLOCK_WRITE, 0, data, sizeof(data));
	ck_assert_int_ne(sem_trywait(&job.ended), 0);
	shutdown(helper.fd, SHUT_RDWR);
	ck_assert_int_eq(job_end(&job), -EIO);
	stop();
}
END_TEST

static void refuse(int fd, const char *text)
{
	const struct block_backend *backend = block_backend_find("nbd");
	json_t *config = json_loads(text, 0, NULL);
	struct block_disk *disk;
	struct error err = {""};

	ck_assert_ptr_nonnull(config);
	json_object_set_new(config, "fds", json_pack("[i]", fd));
	ck_assert_int_lt(backend->open(fd, config, &disk, &err), 0);
	ck_assert_str_ne(err.text, "");
	json_decref(config);
}

START_TEST(what_is_no_disk_is_refused)
{
	int fd = memfd_create("disk", 0);

	refuse(fd, "{\"bytes\": 0, \"block\": 512}");
	refuse(fd, "{\"bytes\": 1000, \"block\": 512}");
	refuse(fd, "{\"bytes\": 1024, \"block\": 1024}");
	refuse(fd, "{\"bytes\": -512, \"block\": 512}");
	refuse(-1, "{\"bytes\": 1024, \"block\": 512}");
	close(fd);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("remote", &tests);

	tcase_add_test(tests, data_comes_back);
	tcase_add_test(tests, many_at_once);
	tcase_add_test(tests, a_stable_write_is_stable);
	tcase_add_test(tests, what_a_server_cannot);
	tcase_add_test(tests, a_servers_errors_arrive);
	tcase_add_loop_test(tests, a_lane_that_ends_fails_all, 0, 4);
	tcase_add_test(tests, a_silent_helper_that_dies_fails_all);
	tcase_add_test(tests, what_is_no_disk_is_refused);
	return suite_run(suite);
}
