#include "mgmt/vmms/resources.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "base/checked.h"
#include "suite.h"

#define MIB	   (UINT64_C(1) << 20)
#define UUID	   "b0b0b0b0-0000-4000-8000-000000000001"
#define OTHER_UUID "b0b0b0b0-0000-4000-8000-000000000002"
#define JOB	   "/org/freedesktop/systemd1/job/7"

/* --- limits --- */

static int parse(const char *text, struct resource_limits *limits, struct error *err)
{
	json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
	int r = resource_limits_parse(json, 1024 * MIB, 2, limits, err);

	json_decref(json);
	return r;
}

START_TEST(limits_are_read)
{
	struct resource_limits limits;

	ck_assert_int_eq(resource_limits_parse(NULL, MIB, 1, &limits, NULL), 0);
	ck_assert_uint_eq(limits.cpu_weight, 0);
	ck_assert_int_eq(parse("{\"cpu_weight\": 10000, \"cpu_cap\": 150, \"cpu_reserve\": 50,"
			       " \"memory_max\": 2147483648, \"io_weight\": null}",
			       &limits, NULL),
			 0);
	ck_assert_uint_eq(limits.cpu_weight, 10000);
	ck_assert_uint_eq(limits.cpu_cap, 150);
	ck_assert_uint_eq(limits.cpu_reserve, 50);
	ck_assert_uint_eq(limits.memory_max, 2048 * MIB);
	ck_assert_uint_eq(limits.io_weight, 0);
}
END_TEST

static const char *const bad_limits[][2] = {
	{"{\"cpu_weight\": 0}", "cpu_weight"},
	{"{\"cpu_weight\": 10001}", "cpu_weight"},
	{"{\"cpu_cap\": -1}", "cpu_cap"},
	{"{\"io_weight\": \"7\"}", "io_weight"},
	{"{\"cpu_reserve\": 201}", "2 processors"},
	{"{\"cpu_reserve\": 60, \"cpu_cap\": 50}", "cpu_cap"},
	{"{\"memory_max\": 1073741824}", "memory_max"},
};

START_TEST(limits_without_sense_are_refused)
{
	struct resource_limits limits = {.cpu_weight = 7};
	struct error err = {""};

	ck_assert_int_eq(parse(bad_limits[_i][0], &limits, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, bad_limits[_i][1]));
	ck_assert_uint_eq(limits.cpu_weight, 7);
}
END_TEST

/* --- shares --- */

START_TEST(weights_without_reserves_are_given_as_they_are)
{
	struct resource_share shares[] = {{.weight = 1}, {.weight = 10000}, {.weight = 100}};

	resource_shares(shares, ARRAY_LENGTH(shares), 2);
	for (size_t i = 0; i < ARRAY_LENGTH(shares); i++)
		ck_assert_uint_eq(shares[i].given, shares[i].weight);
	resource_shares(shares, 0, 2);
}
END_TEST

/* What a VM gets of the host, in percent of one processor, while all want all. */
static double gets(const struct resource_share *shares, size_t count, size_t which,
		   unsigned int processors)
{
	double sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += shares[i].given;
	return shares[which].given / sum * processors * 100;
}

START_TEST(reserves_hold_when_all_want_all)
{
	struct resource_share shares[] = {
		{.weight = 1, .reserve = 100},	 {.weight = 10000}, {.weight = 100, .reserve = 30},
		{.weight = 5000, .reserve = 20}, {.weight = 200},
	};
	size_t count = ARRAY_LENGTH(shares);

	resource_shares(shares, count, 2);
	for (size_t i = 0; i < count; i++) {
		ck_assert_uint_ge(shares[i].given, 1);
		ck_assert_uint_le(shares[i].given, RESOURCE_WEIGHT_MAX);
		ck_assert_double_ge(gets(shares, count, i, 2), shares[i].reserve * 0.995);
	}
	/* And the rest is divided as the weights say. */
	ck_assert_double_ge(gets(shares, count, 1, 2), 40);
	ck_assert_double_le(gets(shares, count, 4, 2), 2);
}
END_TEST

START_TEST(all_may_be_reserved)
{
	struct resource_share shares[] = {
		{.weight = 1, .reserve = 150}, {.weight = 10000, .reserve = 50}, {.weight = 100}};

	resource_shares(shares, ARRAY_LENGTH(shares), 2);
	ck_assert_double_ge(gets(shares, 3, 0, 2), 149);
	ck_assert_double_ge(gets(shares, 3, 1, 2), 49);
	ck_assert_uint_ge(shares[2].given, 1);
}
END_TEST

/* --- cgroup v2, in a directory that looks like it --- */

struct fixture {
	struct event_loop *loop;
	struct resources *resources;
	char top[64];
};

static void put(const char *top, const char *path, const char *text)
{
	char full[PATH_MAX];
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", top, path);
	file = fopen(full, "w");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

static void make_directory(const char *top, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", top, path);
	ck_assert(!mkdir(full, 0755) || errno == EEXIST);
}

static const char *const files[] = {"cgroup.procs", "memory.oom.group", "cpu.weight",
				    "cpu.max",	    "memory.max",	"io.bfq.weight"};

/* What the kernel would make of itself with the directory. */
static void make_vm(const char *top, const char *uuid)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "bulkhead/%s", uuid);
	make_directory(top, path);
	for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
		snprintf(path, sizeof(path), "bulkhead/%s/%s", uuid, files[i]);
		put(top, path, "");
	}
}

static void expect_file(const char *top, const char *path, const char *text)
{
	char full[PATH_MAX];
	char found[256] = "";
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", top, path);
	file = fopen(full, "r");
	ck_assert_msg(file, "%s is not there", full);
	ck_assert_uint_lt(fread(found, 1, sizeof(found) - 1, file), sizeof(found));
	fclose(file);
	ck_assert_msg(!strcmp(found, text), "%s holds %s, not %s", path, found, text);
}

static void expect_of_vm(const struct fixture *fixture, const char *uuid, const char *name,
			 const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "bulkhead/%s/%s", uuid, name);
	expect_file(fixture->top, path, text);
}

static void set_up(struct fixture *fixture)
{
	struct resources_options options = {.cgroup = fixture->top, .bus = -1};

	snprintf(fixture->top, sizeof(fixture->top), "/tmp/test_resources.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(fixture->top));
	make_directory(fixture->top, "bulkhead");
	put(fixture->top, "cgroup.controllers", "cpuset cpu io memory pids\n");
	put(fixture->top, "cgroup.subtree_control", "");
	put(fixture->top, "bulkhead/cgroup.controllers", "cpu memory\n");
	put(fixture->top, "bulkhead/cgroup.subtree_control", "cpu memory\n");
	make_vm(fixture->top, UUID);
	make_vm(fixture->top, OTHER_UUID);
	ck_assert_int_eq(event_loop_new(&fixture->loop), 0);
	ck_assert_int_eq(resources_new(fixture->loop, &options, &fixture->resources), 0);
}

static void tear_down(struct fixture *fixture)
{
	char command[128];

	resources_free(fixture->resources);
	event_loop_free(fixture->loop);
	snprintf(command, sizeof(command), "rm -r %s", fixture->top);
	ck_assert_int_eq(system(command), 0);
}

/* A child that ends at once, since a directory that only looks like a cgroup takes none. */
static void fork_vm(struct fixture *fixture, const char *uuid, const struct resource_limits *limits)
{
	struct error err;
	pid_t pid = resources_fork(fixture->resources, uuid, limits, &err);

	if (pid == 0)
		_exit(0);
	ck_assert_msg(pid > 0, "%s", err.text);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(a_vm_has_its_limits_written)
{
	struct resource_limits limits = {
		.cpu_weight = 300, .cpu_cap = 250, .memory_max = 512 * MIB, .io_weight = 10000};
	struct fixture fixture;

	set_up(&fixture);
	ck_assert_int_eq(resources_kind(fixture.resources), RESOURCES_CGROUP);
	ck_assert_ptr_nonnull(strstr(resources_tell(fixture.resources), "missing: io"));
	expect_file(fixture.top, "cgroup.subtree_control", "+io");
	fork_vm(&fixture, UUID, &limits);
	expect_of_vm(&fixture, UUID, "memory.oom.group", "1");
	expect_of_vm(&fixture, UUID, "cpu.weight", "300");
	expect_of_vm(&fixture, UUID, "cpu.max", "250000 100000");
	expect_of_vm(&fixture, UUID, "memory.max", "536870912");
	expect_of_vm(&fixture, UUID, "io.bfq.weight", "default 1000");
	tear_down(&fixture);
}
END_TEST

static void note_why(void *context, const char *why)
{
	snprintf(context, 256, "%s", why ? why : "placed");
}

static void lose_file(const struct fixture *fixture, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/bulkhead/" UUID "/%s", fixture->top, name);
	ck_assert_int_eq(unlink(path), 0);
}

START_TEST(a_limit_without_its_controller_is_told)
{
	struct resource_limits limits = {.cpu_cap = 50, .memory_max = 512 * MIB};
	struct resource_limits other = {.cpu_weight = 7};
	struct fixture fixture;
	struct error err = {""};
	char why[256] = "";

	set_up(&fixture);
	lose_file(&fixture, "cpu.max");
	fork_vm(&fixture, UUID, &limits);
	resources_begin(fixture.resources, UUID, 7, note_why, why);
	ck_assert_ptr_nonnull(strstr(why, "no cpu.max"));
	expect_of_vm(&fixture, UUID, "cgroup.procs", "7");
	expect_of_vm(&fixture, UUID, "memory.max", "536870912");
	ck_assert_int_eq(resources_change(fixture.resources, UUID, &other, NULL), 0);
	expect_of_vm(&fixture, UUID, "cpu.weight", "7");
	expect_of_vm(&fixture, UUID, "memory.max", "max");
	other = limits;
	other.cpu_weight = 9;
	ck_assert_int_eq(resources_change(fixture.resources, UUID, &other, &err), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(err.text, "no cpu.max"));
	expect_of_vm(&fixture, UUID, "cpu.weight", "7");
	tear_down(&fixture);
}
END_TEST

static void begin_other(struct fixture *fixture, unsigned int reserve)
{
	struct resource_limits limits = {.cpu_reserve = reserve};

	fork_vm(fixture, OTHER_UUID, &limits);
}

START_TEST(reserves_beyond_the_host_are_refused)
{
	unsigned int host = 100u * (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	struct resource_limits limits = {.cpu_reserve = 1};
	struct fixture fixture;
	struct error err = {""};

	set_up(&fixture);
	begin_other(&fixture, host);
	ck_assert_int_eq(resources_fork(fixture.resources, UUID, &limits, &err), -EBUSY);
	ck_assert_ptr_nonnull(strstr(err.text, "cpu_reserve"));
	resources_end(fixture.resources, OTHER_UUID);
	fork_vm(&fixture, UUID, &limits);
	tear_down(&fixture);
}
END_TEST

/* Into the cgroup's file, which the fixture made, the daemon before us would have put the process.
 */
START_TEST(a_vm_that_runs_without_a_place_keeps_none)
{
	struct resource_limits limits = {.cpu_weight = 7};
	struct fixture fixture;
	struct error err = {""};

	set_up(&fixture);
	ck_assert_int_eq(resources_adopt(fixture.resources, UUID, getpid(), &limits), 0);
	ck_assert_int_eq(resources_change(fixture.resources, UUID, &limits, &err), -ENOTSUP);
	expect_of_vm(&fixture, UUID, "cpu.weight", "");
	resources_end(fixture.resources, UUID);
	tear_down(&fixture);
}
END_TEST

START_TEST(a_host_with_neither_lets_vms_run)
{
	struct resources_options options = {.none = true, .bus = -1};
	struct resource_limits limits = {.cpu_weight = 7};
	struct resources *resources;
	struct event_loop *loop;
	char why[256] = "";
	pid_t pid;

	ck_assert_int_eq(event_loop_new(&loop), 0);
	ck_assert_int_eq(resources_new(loop, &options, &resources), 0);
	ck_assert_int_eq(resources_kind(resources), RESOURCES_NONE);
	ck_assert_uint_gt(strlen(resources_tell(resources)), 0);
	pid = resources_fork(resources, UUID, &limits, NULL);
	if (pid == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	resources_begin(resources, UUID, pid, note_why, why);
	ck_assert_str_eq(why, "placed");
	resources_end(resources, UUID);
	resources_free(resources);
	event_loop_free(loop);
}
END_TEST

/* --- systemd: its end of the bus, in another process --- */

struct manager {
	sd_bus *bus;
	const char *result; /* of the job; NULL: it refuses */
	const char *answer; /* path of the file that it notes calls in */
};

static int send_job_removed(struct manager *manager, const char *unit)
{
	sd_bus_message *signal = NULL;
	int r = sd_bus_message_new_signal(manager->bus, &signal, "/org/freedesktop/systemd1",
					  "org.freedesktop.systemd1.Manager", "JobRemoved");

	if (r >= 0)
		r = sd_bus_message_set_sender(signal, ":1.0");
	if (r >= 0)
		r = sd_bus_message_append(signal, "uoss", 7, JOB, unit, manager->result);
	if (r >= 0)
		r = sd_bus_send(manager->bus, signal, NULL);
	sd_bus_message_unref(signal);
	return r;
}

/* Notes the members that are integers, as "NAME=VALUE ". */
static void note_properties(FILE *file, sd_bus_message *call)
{
	const char *name, *contents;
	uint64_t value;
	char kind;

	sd_bus_message_enter_container(call, 'a', "(sv)");
	while (sd_bus_message_enter_container(call, 'r', "sv") > 0) {
		sd_bus_message_read(call, "s", &name);
		sd_bus_message_peek_type(call, &kind, &contents);
		if (!strcmp(contents, "t") && sd_bus_message_read(call, "v", "t", &value) >= 0)
			fprintf(file, "%s=%" PRIu64 " ", name, value);
		else
			sd_bus_message_skip(call, "v");
		sd_bus_message_exit_container(call);
	}
	sd_bus_message_exit_container(call);
	fprintf(file, "\n");
}

static void note_call(struct manager *manager, sd_bus_message *call, const char *unit)
{
	FILE *file = fopen(manager->answer, "w"); /* what is written goes out by fclose, at once */

	fprintf(file, "%s %s ", sd_bus_message_get_member(call), unit);
	note_properties(file, call);
	fclose(file);
}

static int on_call(sd_bus_message *call, void *context, sd_bus_error *error)
{
	struct manager *manager = context;
	const char *unit = "";

	if (sd_bus_message_is_method_call(call, NULL, "Hello"))
		return sd_bus_reply_method_return(call, "s", ":1.1");
	if (sd_bus_message_is_method_call(call, NULL, "AddMatch"))
		return sd_bus_reply_method_return(call, "");
	if (sd_bus_message_is_method_call(call, NULL, "StartTransientUnit")) {
		sd_bus_message_read(call, "ss", &unit, NULL);
		note_call(manager, call, unit);
		if (!manager->result)
			return sd_bus_reply_method_errorf(call, SD_BUS_ERROR_ACCESS_DENIED,
							  "not for you");
		sd_bus_reply_method_return(call, "o", JOB);
		return send_job_removed(manager, unit);
	}
	if (sd_bus_message_is_method_call(call, NULL, "SetUnitProperties")) {
		sd_bus_message_read(call, "sb", &unit, NULL);
		note_call(manager, call, unit);
	}
	return 0;
}

static void serve(int fd, const char *answer, const char *result)
{
	struct manager manager = {.answer = answer, .result = result};
	sd_id128_t id =
		SD_ID128_MAKE(01, 02, 03, 04, 05, 06, 07, 08, 09, 0a, 0b, 0c, 0d, 0e, 0f, 10);

	sd_bus_new(&manager.bus);
	sd_bus_set_fd(manager.bus, fd, fd);
	sd_bus_set_server(manager.bus, 1, id);
	sd_bus_start(manager.bus);
	sd_bus_add_filter(manager.bus, NULL, on_call, &manager);
	for (;;) {
		int r = sd_bus_process(manager.bus, NULL);

		if (r < 0 || (r == 0 && sd_bus_wait(manager.bus, UINT64_MAX) < 0))
			_exit(0);
	}
}

struct bus_fixture {
	struct event_loop *loop;
	struct resources *resources;
	pid_t manager;
	char answer[64];
	char why[256];
};

static void set_up_bus(struct bus_fixture *fixture, const char *result)
{
	struct resources_options options = {.bus = -1};
	int pair[2];

	*fixture = (struct bus_fixture){.answer = "/tmp/test_resources.XXXXXX"};
	close(mkstemp(fixture->answer));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	fixture->manager = fork();
	if (fixture->manager == 0) {
		close(pair[0]);
		serve(pair[1], fixture->answer, result);
	}
	close(pair[1]);
	options.bus = pair[0];
	ck_assert_int_eq(event_loop_new(&fixture->loop), 0);
	ck_assert_int_eq(resources_new(fixture->loop, &options, &fixture->resources), 0);
	ck_assert_int_eq(resources_kind(fixture->resources), RESOURCES_SCOPE);
}

static void tear_down_bus(struct bus_fixture *fixture)
{
	resources_free(fixture->resources);
	ck_assert_int_eq(waitpid(fixture->manager, NULL, 0), fixture->manager);
	event_loop_free(fixture->loop);
	unlink(fixture->answer);
}

static void on_placed(void *context, const char *why)
{
	struct bus_fixture *fixture = context;

	note_why(fixture->why, why);
	event_loop_stop(fixture->loop, 0);
}

/* Returns the number of a process that was a child of ours. */
static pid_t begin(struct bus_fixture *fixture, const struct resource_limits *limits)
{
	pid_t pid = resources_fork(fixture->resources, UUID, limits, NULL);

	if (pid == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	resources_begin(fixture->resources, UUID, pid, on_placed, fixture);
	ck_assert_int_eq(event_loop_run(fixture->loop), 0);
	return pid;
}

START_TEST(systemd_makes_a_scope)
{
	struct resource_limits limits = {.cpu_weight = 250, .cpu_cap = 50, .memory_max = MIB};
	struct bus_fixture fixture;
	char expected[512];
	pid_t pid;

	set_up_bus(&fixture, "done");
	pid = begin(&fixture, &limits);
	ck_assert_str_eq(fixture.why, "placed");
	snprintf(expected, sizeof(expected),
		 "StartTransientUnit bulkhead-" UUID "-%d.scope CPUWeight=250 "
		 "CPUQuotaPerSecUSec=500000 MemoryMax=1048576 IOWeight=100 \n",
		 (int)pid);
	expect_file("/", fixture.answer, expected);
	tear_down_bus(&fixture);
}
END_TEST

static void stop_loop(void *context, uint32_t events)
{
	struct bus_fixture *fixture = context;
	struct stat status;

	ck_assert_int_eq(stat(fixture->answer, &status), 0);
	if (status.st_size)
		event_loop_stop(fixture->loop, 0);
}

START_TEST(systemd_changes_a_scope)
{
	struct resource_limits limits = {.cpu_weight = 250};
	struct resource_limits other = {.cpu_weight = 9, .io_weight = 8};
	struct bus_fixture fixture;
	struct event_source *timer;
	char expected[512];
	pid_t pid;

	set_up_bus(&fixture, "done");
	pid = begin(&fixture, &limits);
	ck_assert_int_eq(truncate(fixture.answer, 0), 0);
	ck_assert_int_eq(resources_change(fixture.resources, UUID, &other, NULL), 0);
	ck_assert_int_eq(event_loop_timer(fixture.loop, stop_loop, &fixture, &timer), 0);
	event_timer_arm(timer, 1000000, 1000000);
	ck_assert_int_eq(event_loop_run(fixture.loop), 0);
	event_source_remove(timer);
	snprintf(expected, sizeof(expected),
		 "SetUnitProperties bulkhead-" UUID "-%d.scope CPUWeight=9 "
		 "CPUQuotaPerSecUSec=18446744073709551615 MemoryMax=18446744073709551615 "
		 "IOWeight=8 \n",
		 (int)pid);
	expect_file("/", fixture.answer, expected);
	tear_down_bus(&fixture);
}
END_TEST

START_TEST(a_refusal_of_systemd_is_told)
{
	static const char *const results[] = {NULL, "failed"};
	static const char *const words[] = {"not for you", "failed"};
	struct resource_limits limits = {0};
	struct bus_fixture fixture;

	set_up_bus(&fixture, results[_i]);
	begin(&fixture, &limits);
	ck_assert_ptr_nonnull(strstr(fixture.why, "without limits"));
	ck_assert_ptr_nonnull(strstr(fixture.why, words[_i]));
	ck_assert_int_eq(resources_change(fixture.resources, UUID, &limits, NULL), -ENOTSUP);
	tear_down_bus(&fixture);
}
END_TEST

START_TEST(a_bus_that_hangs_up_lets_vms_run)
{
	struct resource_limits limits = {0};
	struct bus_fixture fixture;
	pid_t pid;

	set_up_bus(&fixture, "done");
	kill(fixture.manager, SIGKILL);
	begin(&fixture, &limits);
	ck_assert_ptr_nonnull(strstr(fixture.why, "without limits"));
	pid = resources_fork(fixture.resources, OTHER_UUID, &limits, NULL);
	if (pid == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	fixture.why[0] = '\0';
	resources_begin(fixture.resources, OTHER_UUID, pid, note_why, fixture.why);
	ck_assert_ptr_nonnull(strstr(fixture.why, "without limits"));
	tear_down_bus(&fixture);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("resources", &tests);

	tcase_add_test(tests, limits_are_read);
	tcase_add_loop_test(tests, limits_without_sense_are_refused, 0, ARRAY_LENGTH(bad_limits));
	tcase_add_test(tests, weights_without_reserves_are_given_as_they_are);
	tcase_add_test(tests, reserves_hold_when_all_want_all);
	tcase_add_test(tests, all_may_be_reserved);
	tcase_add_test(tests, a_vm_has_its_limits_written);
	tcase_add_test(tests, a_limit_without_its_controller_is_told);
	tcase_add_test(tests, reserves_beyond_the_host_are_refused);
	tcase_add_test(tests, a_vm_that_runs_without_a_place_keeps_none);
	tcase_add_test(tests, a_host_with_neither_lets_vms_run);
	tcase_add_test(tests, systemd_makes_a_scope);
	tcase_add_test(tests, systemd_changes_a_scope);
	tcase_add_loop_test(tests, a_refusal_of_systemd_is_told, 0, 2);
	tcase_add_test(tests, a_bus_that_hangs_up_lets_vms_run);
	return suite_run(suite);
}
