#include "mgmt/exit_record.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/memfd.h"
#include "mgmt/supervisor.h"
#include "suite.h"

static struct supervisor_outcome outcome;

static int prepared(void)
{
	int fd = memfd_new("record", 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(exit_record_prepare(fd), 0);
	return fd;
}

static void make_outcome(const char *message, const char *crash)
{
	memset(&outcome, 0, sizeof(outcome));
	outcome.code = 143;
	strcpy(outcome.reason, "stopped");
	strcpy(outcome.message, message);
	strcpy(outcome.crash, crash);
}

static const char *text_of(const json_t *record, const char *key)
{
	return json_string_value(json_object_get(record, key));
}

START_TEST(what_is_written_is_read)
{
	int fd = prepared();
	struct stat status;
	json_t *record;

	make_outcome("a \xff sentence; \xc3\xa4", "P0 0x1\nlast \"words\"");
	ck_assert_int_eq(exit_record_write(fd, &outcome), 0);
	ck_assert_int_eq(exit_record_read(fd, &record), 0);
	ck_assert_str_eq(text_of(record, "reason"), "stopped");
	ck_assert_str_eq(text_of(record, "message"), "a ? sentence; \xc3\xa4");
	ck_assert_str_eq(text_of(record, "crash"), "P0 0x1\nlast \"words\"");
	ck_assert_int_eq(json_integer_value(json_object_get(record, "code")), 143);
	ck_assert_int_gt(json_integer_value(json_object_get(record, "time")), 0);
	json_decref(record);
	ck_assert_int_eq(fstat(fd, &status), 0);
	ck_assert_int_eq(status.st_size, EXIT_RECORD_SIZE);
	close(fd);
}
END_TEST

/* Characters that JSON lengthens as much as it does any, and those that it does not. */
START_TEST(long_words_are_cut)
{
	static const char fill[] = {'x', '\\', '\x01'};
	int fd = prepared();
	json_t *record;

	make_outcome("", "");
	memset(outcome.message, fill[_i], sizeof(outcome.message) - 1);
	memset(outcome.crash, fill[_i], sizeof(outcome.crash) - 1);
	ck_assert_int_eq(exit_record_write(fd, &outcome), 0);
	ck_assert_int_eq(exit_record_read(fd, &record), 0);
	ck_assert_uint_gt(strlen(text_of(record, "message")), 300);
	ck_assert_uint_gt(strlen(text_of(record, "crash")), 100);
	ck_assert_int_eq(text_of(record, "message")[200], fill[_i]);
	json_decref(record);
	close(fd);
}
END_TEST

START_TEST(no_record_is_none)
{
	int fd = prepared();
	int empty = memfd_new("empty", 0);
	json_t *record = NULL;

	ck_assert_int_eq(exit_record_read(fd, &record), -ENODATA);
	ck_assert_int_eq(exit_record_read(empty, &record), -ENODATA);
	ck_assert_int_eq(exit_record_read(-1, &record), -EBADF);
	ck_assert_ptr_null(record);
	close(fd);
	close(empty);
}
END_TEST

/* Whatever byte did not get there, what is there is told from a whole one. */
START_TEST(a_torn_record_is_none)
{
	uint8_t whole[EXIT_RECORD_SIZE];
	int fd = prepared();
	json_t *record = NULL;
	uint32_t length;

	make_outcome("a sentence", "");
	ck_assert_int_eq(exit_record_write(fd, &outcome), 0);
	ck_assert_int_eq(pread(fd, whole, sizeof(whole), 0), sizeof(whole));
	memcpy(&length, whole + 8, sizeof(length));
	for (off_t at = 0; at < (off_t)(16 + length); at++) {
		uint8_t other = whole[at] ^ 0x10;

		ck_assert_int_eq(pwrite(fd, &other, 1, at), 1);
		ck_assert_int_eq(exit_record_read(fd, &record), -ENODATA);
		ck_assert_int_eq(pwrite(fd, &whole[at], 1, at), 1);
	}
	ck_assert_int_eq(ftruncate(fd, 16 + length - 1), 0);
	ck_assert_int_eq(exit_record_read(fd, &record), -ENODATA);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("exit_record", &test_case);

	tcase_add_test(test_case, what_is_written_is_read);
	tcase_add_loop_test(test_case, long_words_are_cut, 0, 3);
	tcase_add_test(test_case, no_record_is_none);
	tcase_add_test(test_case, a_torn_record_is_none);
	return suite_run(suite);
}
