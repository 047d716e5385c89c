#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mgmt/vmms/audit.h"
#include "suite.h"

static char directory[64];
static char file[128];
static char journal[108];
static struct audit *audit;
static const struct caller caller = {.uid = 65533, .gid = 65533, .pid = 4711};

static void set_up(void)
{
	snprintf(directory, sizeof(directory), "/tmp/bulkhead-audit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(file, sizeof(file), "%s/audit.log", directory);
	snprintf(journal, sizeof(journal), "%s/journal", directory);
	audit = NULL;
}

static void tear_down(void)
{
	char command[128];

	audit_free(audit);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}

static void start(const char *with_journal, size_t file_max)
{
	struct audit_options options = {with_journal, file, file_max};

	ck_assert_int_eq(audit_new(&options, &audit), 0);
}

static void record(const char *vm, const char *error, const char *message)
{
	json_t *parameters = json_pack("{s:s, s:s, s:s}", "vm", vm, "key", "a", "value", "secret");
	struct audit_record entry = {.caller = &caller,
				     .method = "SetKvp",
				     .parameters = parameters,
				     .vm = vm,
				     .uuid = "1234",
				     .error = error,
				     .message = message};

	audit_write(audit, &entry);
	json_decref(parameters);
}

/* How many lines a file has; the last is in line. */
static int read_lines(const char *path, char *line, int size)
{
	FILE *stream = fopen(path, "re");
	int count = 0;

	if (!stream)
		return 0;
	while (fgets(line, size, stream))
		count++;
	fclose(stream);
	return count;
}

static const char *text_of(const json_t *line, const char *key)
{
	const char *text = json_string_value(json_object_get(line, key));

	return text ? text : "(none)";
}

static json_t *last_line(int count)
{
	char line[16384];
	json_t *parsed;

	ck_assert_int_eq(read_lines(file, line, sizeof(line)), count);
	parsed = json_loads(line, 0, NULL);
	ck_assert_ptr_nonnull(parsed);
	return parsed;
}

START_TEST(a_line_says_who_what_and_the_result)
{
	struct stat status;
	json_t *line;

	start(NULL, AUDIT_FILE_MAX);
	record("web", NULL, NULL);
	line = last_line(1);
	ck_assert_int_eq(json_integer_value(json_object_get(line, "uid")), 65533);
	ck_assert_int_eq(json_integer_value(json_object_get(line, "pid")), 4711);
	ck_assert_ptr_nonnull(json_object_get(line, "user"));
	ck_assert_str_eq(text_of(line, "method"), "SetKvp");
	ck_assert_str_eq(text_of(line, "vm"), "web");
	ck_assert_str_eq(text_of(line, "uuid"), "1234");
	ck_assert_str_eq(text_of(line, "result"), "done");
	ck_assert_uint_eq(strlen(text_of(line, "time")), strlen("2000-01-01T00:00:00.000000Z"));
	json_decref(line);
	record("web", "Denied", "you may not");
	line = last_line(2);
	ck_assert_str_eq(text_of(line, "result"), "Denied");
	ck_assert_str_eq(text_of(line, "message"), "you may not");
	json_decref(line);
	ck_assert_int_eq(stat(file, &status), 0);
	ck_assert_int_eq(status.st_mode & 07777, 0600);
}
END_TEST

START_TEST(what_a_guest_is_told_is_left_out)
{
	char line[16384];

	start(NULL, AUDIT_FILE_MAX);
	record("web", NULL, NULL);
	ck_assert_int_eq(read_lines(file, line, sizeof(line)), 1);
	ck_assert_ptr_null(strstr(line, "secret"));
	ck_assert_ptr_nonnull(strstr(line, "\"key\":\"a\""));
}
END_TEST

START_TEST(no_caller_begins_a_line)
{
	const char *vm = "a\nb\r\x1b[31m\x7f\xc2\x85\xff\"}";
	char line[16384];

	start(NULL, AUDIT_FILE_MAX);
	record(vm, "NotFound", vm);
	ck_assert_int_eq(read_lines(file, line, sizeof(line)), 1);
	for (const char *c = line; c[1]; c++)
		ck_assert_msg(*c >= 0x20 && *c < 0x7f, "byte %#x", *c);
}
END_TEST

START_TEST(no_caller_is_too_long_to_be_noted)
{
	char *vm = malloc(100001);
	char line[16384];

	memset(vm, 1, 100000);
	vm[100000] = '\0';
	start(NULL, AUDIT_FILE_MAX);
	record(vm, "NotFound", vm);
	ck_assert_int_eq(read_lines(file, line, sizeof(line)), 1);
	ck_assert_uint_eq(audit_lost(audit), 0);
	free(vm);
}
END_TEST

START_TEST(a_full_file_makes_room)
{
	char line[16384], old[160];

	start(NULL, 1000);
	for (int i = 0; i < 60; i++)
		record("web", NULL, NULL);
	ck_assert_int_gt(read_lines(file, line, sizeof(line)), 0);
	for (int i = 1; i <= AUDIT_FILES_KEPT; i++) {
		struct stat status;

		snprintf(old, sizeof(old), "%s.%d", file, i);
		ck_assert_int_eq(stat(old, &status), 0);
		ck_assert_int_le(status.st_size, 1000);
	}
	snprintf(old, sizeof(old), "%s.%d", file, AUDIT_FILES_KEPT + 1);
	ck_assert_int_ne(access(old, F_OK), 0);
	ck_assert_uint_eq(audit_lost(audit), 0);
}
END_TEST

static void limit_files(rlim_t bytes)
{
	struct rlimit limit = {bytes, RLIM_INFINITY};

	setrlimit(RLIMIT_FSIZE, &limit);
}

/* The kernel's limit on a file's size stands in for a full disk: part of the last line fits. */
START_TEST(a_full_disk_loses_whole_lines_and_counts_them)
{
	struct stat before, after;
	json_t *line;

	start(NULL, AUDIT_FILE_MAX);
	record("web", NULL, NULL);
	ck_assert_int_eq(stat(file, &before), 0);
	signal(SIGXFSZ, SIG_IGN);
	limit_files((rlim_t)before.st_size + 20); /* which also holds for what Check notes */
	record("web", NULL, NULL);
	record("web", NULL, NULL);
	limit_files(RLIM_INFINITY);
	ck_assert_int_eq(stat(file, &after), 0);
	ck_assert_int_eq(before.st_size, after.st_size);
	ck_assert_uint_eq(audit_lost(audit), 2);
	record("web", NULL, NULL);
	line = last_line(2);
	ck_assert_int_eq(json_integer_value(json_object_get(line, "missing")), 2);
	json_decref(line);
	record("web", NULL, NULL);
	line = last_line(3);
	ck_assert_ptr_null(json_object_get(line, "missing"));
	json_decref(line);
	ck_assert_uint_eq(audit_lost(audit), 2);
}
END_TEST

START_TEST(a_file_that_is_none_is_not_written_to)
{
	char target[160];

	snprintf(target, sizeof(target), "%s/target", directory);
	ck_assert_int_eq(symlink(target, file), 0);
	start(NULL, AUDIT_FILE_MAX);
	record("web", NULL, NULL);
	ck_assert_int_ne(access(target, F_OK), 0);
	ck_assert_uint_eq(audit_lost(audit), 1);
	ck_assert_int_eq(unlink(file), 0);
	ck_assert_int_eq(mkfifo(file, 0600), 0);
	record("web", NULL, NULL);
	ck_assert_uint_eq(audit_lost(audit), 2);
}
END_TEST

static int listen_as_journal(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", journal);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void expect_entry(int fd, const char *field)
{
	char entry[16384];
	ssize_t size = recv(fd, entry, sizeof(entry) - 1, 0);

	ck_assert_int_gt(size, 0);
	entry[size] = '\0';
	ck_assert_int_eq(strncmp(entry, "MESSAGE={", 9), 0);
	ck_assert_ptr_nonnull(strstr(entry, field));
	ck_assert_ptr_nonnull(strstr(entry, "\nSYSLOG_IDENTIFIER=bulkhead-vmms\n"));
	ck_assert_ptr_nonnull(strstr(entry, "\nBULKHEAD_UUID=1234\n"));
}

START_TEST(the_journal_comes_first)
{
	int fd = listen_as_journal();

	start(journal, AUDIT_FILE_MAX);
	record("web", NULL, NULL);
	expect_entry(fd, "\nBULKHEAD_RESULT=done\n");
	record("web\nPRIORITY=0", "Denied", NULL);
	expect_entry(fd, "\nPRIORITY=4\n");
	close(fd);
	ck_assert_int_ne(access(file, F_OK), 0);
}
END_TEST

START_TEST(a_journal_that_was_restarted_is_found_again)
{
	int fd = listen_as_journal();

	start(journal, AUDIT_FILE_MAX);
	record("web", NULL, NULL);
	close(fd);
	ck_assert_int_eq(unlink(journal), 0);
	fd = listen_as_journal();
	record("web", NULL, NULL);
	expect_entry(fd, "\nBULKHEAD_RESULT=done\n");
	close(fd);
	ck_assert_int_ne(access(file, F_OK), 0);
}
END_TEST

START_TEST(what_the_journal_does_not_take_goes_to_the_file)
{
	char line[16384];
	int fd = listen_as_journal(), taken = 0, kept;

	start(journal, AUDIT_FILE_MAX);
	for (int i = 0; i < 2000; i++)
		record("web", NULL, NULL);
	while (recv(fd, line, sizeof(line), 0) > 0)
		taken++;
	close(fd);
	kept = read_lines(file, line, sizeof(line));
	ck_assert_int_gt(taken, 0);
	ck_assert_int_gt(kept, 0);
	ck_assert_int_eq(taken + kept, 2000);
	record("web", NULL, NULL);
	ck_assert_int_eq(read_lines(file, line, sizeof(line)), kept + 1);
	ck_assert_uint_eq(audit_lost(audit), 0);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("audit", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, a_line_says_who_what_and_the_result);
	tcase_add_test(tests, what_a_guest_is_told_is_left_out);
	tcase_add_test(tests, no_caller_begins_a_line);
	tcase_add_test(tests, no_caller_is_too_long_to_be_noted);
	tcase_add_test(tests, a_full_file_makes_room);
	tcase_add_test(tests, a_full_disk_loses_whole_lines_and_counts_them);
	tcase_add_test(tests, a_file_that_is_none_is_not_written_to);
	tcase_add_test(tests, the_journal_comes_first);
	tcase_add_test(tests, a_journal_that_was_restarted_is_found_again);
	tcase_add_test(tests, what_the_journal_does_not_take_goes_to_the_file);
	return suite_run(suite);
}
