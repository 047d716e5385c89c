/* File copy as a guest sees it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/utf16.h"
#include "devices/table.h"
#include "devices/vsp/ic_file.h"
#include "suite.h"
#include "vsc_ic.h"

#define BYTES (3 * IC_FCOPY_FRAGMENT + 1000)

static struct vsc_ic ic;
static struct vsc_channel channel;
static struct vsc_ic_request request;
static uint8_t content[BYTES], copied[BYTES];
static int file;

static void setup(void)
{
	char path[] = "/tmp/test_ic_fcopy.XXXXXX";

	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 7 + (i >> 8));
	file = mkstemp(path);
	ck_assert_int_ge(file, 0);
	unlink(path);
	ck_assert_int_eq(write(file, content, sizeof(content)), sizeof(content));
	vsc_ic_start(&ic, json_object());
	vsc_ic_connect(&ic, "file-copy", (struct ic_version){1, 1}, &channel);
}

static void teardown(void)
{
	vsc_ic_stop(&ic);
	close(file);
}

static void call_copy(struct vsc_ic_call *call, const char *path, int flags)
{
	vsc_ic_call(&ic, call, "copy-file",
		    json_pack("{s:i,s:I,s:s,s:b,s:b}", "fd", dup(file), "size",
			      (json_int_t)lseek(file, 0, SEEK_END), "path", path, "overwrite",
			      flags & 1, "create_path", flags & 2));
}

/* Takes the next request, which must be this one; its answer is still due. */
static void take(enum ic_fcopy_operation operation)
{
	struct ic_fcopy_header header;

	vsc_ic_receive(&ic, &channel, true, &request);
	ck_assert_uint_eq(request.header.type, IC_FCOPY);
	memcpy(&header, request.body, sizeof(header));
	ck_assert_uint_eq(header.operation, operation);
}

static void expect(enum ic_fcopy_operation operation, uint32_t status)
{
	take(operation);
	vsc_ic_answer(&ic, &channel, &request, status);
}

static struct ic_fcopy_write take_write(void)
{
	struct ic_fcopy_write message;

	take(IC_FCOPY_WRITE);
	ck_assert_uint_ge(request.size, sizeof(message));
	memcpy(&message, request.body, sizeof(message));
	ck_assert(range_within(message.offset, message.size, BYTES));
	memcpy(copied + message.offset, message.data, message.size);
	return message;
}

static void take_all(void)
{
	uint64_t end = 0;

	while (end < BYTES) {
		struct ic_fcopy_write message = take_write();

		ck_assert_uint_eq(message.offset, end);
		end += message.size;
		vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	}
	ck_assert_mem_eq(copied, content, BYTES);
}

static void expect_refused(struct vsc_ic_call *call, const char *words)
{
	ck_assert(!vsc_ic_wait(call));
	ck_assert_msg(strstr(call->sentence, words), "\"%s\" lacks \"%s\"", call->sentence, words);
}

static void expect_copied(struct vsc_ic_call *call)
{
	ck_assert(vsc_ic_wait(call));
	ck_assert_int_eq(json_integer_value(json_object_get(call->reply, "bytes")), BYTES);
	json_decref(call->reply);
}

START_TEST(a_file_is_copied)
{
	struct ic_fcopy_start start;
	struct vsc_ic_call call;
	char text[64];

	call_copy(&call, "/var/tm\xc3\xbc/na me", _i);
	take(IC_FCOPY_START);
	memcpy(&start, request.body, sizeof(start));
	utf16_decode(start.path_name, sizeof(start.path_name), text, sizeof(text));
	ck_assert_str_eq(text, "/var/tm\xc3\xbc/");
	utf16_decode(start.file_name, sizeof(start.file_name), text, sizeof(text));
	ck_assert_str_eq(text, "na me");
	ck_assert_uint_eq(start.file_size, BYTES);
	ck_assert_uint_eq(start.flags, (uint32_t)_i);
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	take_all();
	expect(IC_FCOPY_COMPLETE, IC_S_OK);
	expect_copied(&call);
}
END_TEST

/* As it comes from bulkhead run. */
START_TEST(a_file_is_copied_through_a_pipe)
{
	struct vsc_ic_call call;
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_ge(fcntl(fds[1], F_SETPIPE_SZ, BYTES), BYTES);
	ck_assert_int_eq(write(fds[1], content, BYTES), BYTES);
	close(fds[1]);
	vsc_ic_call(
		&ic, &call, "copy-file",
		json_pack("{s:i, s:i, s:s}", "fd", fds[0], "size", (int)BYTES, "path", "/file"));
	expect(IC_FCOPY_START, IC_S_OK);
	take_all();
	expect(IC_FCOPY_COMPLETE, IC_S_OK);
	expect_copied(&call);
}
END_TEST

START_TEST(an_empty_file_is_copied)
{
	struct vsc_ic_call call;

	ck_assert_int_eq(ftruncate(file, 0), 0);
	call_copy(&call, "/empty", 0);
	expect(IC_FCOPY_START, IC_S_OK);
	expect(IC_FCOPY_COMPLETE, IC_S_OK);
	ck_assert(vsc_ic_wait(&call));
	json_decref(call.reply);
}
END_TEST

START_TEST(wrong_requests_never_reach_the_guest)
{
	char path[300];
	struct vsc_ic_call call;

	call_copy(&call, "relative", 0);
	expect_refused(&call, "absolute");
	call_copy(&call, "/directory/", 0);
	expect_refused(&call, "absolute");
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[261] = '\0';
	call_copy(&call, path, 0);
	expect_refused(&call, "too long");
	vsc_ic_call(&ic, &call, "copy-file",
		    json_pack("{s:i,s:s}", "fd", dup(file), "path", "/null"));
	expect_refused(&call, "size");
	vsc_ic_call(&ic, &call, "copy-file", json_pack("{s:s}", "path", "/none"));
	expect_refused(&call, "missing");
	ck_assert(!vsc_ic_receive(&ic, &channel, false, &request));
}
END_TEST

START_TEST(a_refused_start_leaves_what_is_there)
{
	struct vsc_ic_call call, other;

	call_copy(&call, "/there", 0);
	call_copy(&other, "/else", 0);
	expect_refused(&other, "busy");
	expect(IC_FCOPY_START, IC_E_ALREADY_EXISTS);
	expect_refused(&call, "exists there already");
	ck_assert(!vsc_ic_receive(&ic, &channel, false, &request));
	call_copy(&call, "/there", 1);
	expect(IC_FCOPY_START, IC_S_OK);
	take_all();
	expect(IC_FCOPY_COMPLETE, IC_S_OK);
	expect_copied(&call);
}
END_TEST

START_TEST(a_failed_write_is_cancelled)
{
	struct vsc_ic_call call;

	call_copy(&call, "/file", 0);
	expect(IC_FCOPY_START, IC_S_OK);
	expect(IC_FCOPY_WRITE, IC_E_INVALID_ARGUMENT);
	expect(IC_FCOPY_CANCEL, IC_S_OK);
	expect_refused(&call, "refuses the copy");
	call_copy(&call, "/file", 0);
	expect(IC_FCOPY_START, IC_S_OK);
	take_all();
	/* So is a failed end; and a driver that cannot cancel empties the file. */
	expect(IC_FCOPY_COMPLETE, IC_E_FAIL);
	expect(IC_FCOPY_CANCEL, IC_E_FAIL);
	take(IC_FCOPY_START);
	ck_assert_uint_eq(((struct ic_fcopy_start *)(void *)request.body)->flags,
			  IC_FCOPY_OVERWRITE);
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	expect(IC_FCOPY_COMPLETE, IC_S_OK);
	expect_refused(&call, "an empty file is left");
}
END_TEST

START_TEST(a_part_that_stays_is_told_of)
{
	struct vsc_ic_call call;

	call_copy(&call, "/file", 0);
	expect(IC_FCOPY_START, IC_S_OK);
	expect(IC_FCOPY_WRITE, IC_E_INVALID_ARGUMENT);
	expect(IC_FCOPY_CANCEL, IC_E_FAIL);
	expect(IC_FCOPY_START, IC_E_FAIL);
	expect_refused(&call, "keeps the part");
}
END_TEST

START_TEST(a_full_disk_is_tried_again)
{
	struct ic_fcopy_write first, again;
	struct vsc_ic_call call;

	call_copy(&call, "/file", 0);
	expect(IC_FCOPY_START, IC_S_OK);
	first = take_write();
	vsc_ic_answer(&ic, &channel, &request, IC_E_DISK_FULL);
	again = take_write();
	ck_assert_mem_eq(&first, &again, sizeof(first));
	for (unsigned int i = 0; i < 4; i++) {
		vsc_ic_answer(&ic, &channel, &request, IC_E_DISK_FULL);
		if (i < 3)
			take_write();
	}
	expect(IC_FCOPY_CANCEL, IC_S_OK);
	expect_refused(&call, "full");
}
END_TEST

START_TEST(room_that_is_made_is_used)
{
	struct vsc_ic_call call;

	call_copy(&call, "/file", 0);
	expect(IC_FCOPY_START, IC_S_OK);
	expect(IC_FCOPY_WRITE, IC_E_DISK_FULL);
	take_all();
	expect(IC_FCOPY_COMPLETE, IC_S_OK);
	expect_copied(&call);
}
END_TEST

START_TEST(a_file_that_shrinks_is_cancelled)
{
	struct vsc_ic_call call;

	call_copy(&call, "/file", 0);
	expect(IC_FCOPY_START, IC_S_OK);
	take(IC_FCOPY_WRITE);
	ck_assert_int_eq(ftruncate(file, 10), 0);
	vsc_ic_answer(&ic, &channel, &request, IC_S_OK);
	expect(IC_FCOPY_CANCEL, IC_S_OK);
	expect_refused(&call, "shorter");
}
END_TEST

START_TEST(a_guest_that_goes_away_ends_it)
{
	struct vsc_ic_call call;

	call_copy(&call, "/file", 0);
	expect(IC_FCOPY_START, IC_S_OK);
	take(IC_FCOPY_WRITE);
	vsc_channel_close(&channel);
	expect_refused(&call, "restarted");
	vsc_ic_connect(&ic, "file-copy", (struct ic_version){1, 0}, &channel);
	call_copy(&call, "/file", 0);
	take(IC_FCOPY_START);
	/* Destroyed with a call under way, it answers that, too. */
	vsc_ic_stop(&ic);
	expect_refused(&call, "restarted");
	vsc_ic_start(&ic, json_object());
}
END_TEST

/* As a file system does that died while a file of it was being read. */
START_TEST(a_file_that_does_not_answer_holds_up_nobody)
{
	struct vsc_ic_call call;
	struct ic_file silent;
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(ic_file_open(&silent, ic.io_thread, fds[0], -1), 0);
	ck_assert_int_eq(ic_file_read(&silent, 100, 0), 0);
	ic_file_close(&silent);
	call_copy(&call, "/file", 0);
	expect(IC_FCOPY_START, IC_S_OK);
	take_all();
	/* It may answer yet. */
	ck_assert_int_eq(write(fds[1], "late", 4), 4);
	expect(IC_FCOPY_COMPLETE, IC_S_OK);
	expect_copied(&call);
	close(fds[1]);
}
END_TEST

/* As one that dies while it is copied. */
START_TEST(a_source_that_falls_silent_is_cancelled)
{
	struct vsc_ic_call call;
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	vsc_ic_call(&ic, &call, "copy-file",
		    json_pack("{s:i,s:I,s:s}", "fd", fds[0], "size", (json_int_t)BYTES, "path",
			      "/file"));
	expect(IC_FCOPY_START, IC_S_OK);
	ck_assert_int_eq(write(fds[1], content, 100), 100);
	expect(IC_FCOPY_WRITE, IC_S_OK);
	expect(IC_FCOPY_CANCEL, IC_S_OK);
	expect_refused(&call, "timed out");
	close(fds[1]);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("ic_fcopy", &test_case);

	tcase_add_checked_fixture(test_case, setup, teardown);
	tcase_set_timeout(test_case, 60);
	tcase_add_loop_test(test_case, a_file_is_copied, 0, 4);
	tcase_add_test(test_case, a_file_is_copied_through_a_pipe);
	tcase_add_test(test_case, an_empty_file_is_copied);
	tcase_add_test(test_case, wrong_requests_never_reach_the_guest);
	tcase_add_test(test_case, a_refused_start_leaves_what_is_there);
	tcase_add_test(test_case, a_failed_write_is_cancelled);
	tcase_add_test(test_case, a_part_that_stays_is_told_of);
	tcase_add_test(test_case, a_full_disk_is_tried_again);
	tcase_add_test(test_case, room_that_is_made_is_used);
	tcase_add_test(test_case, a_file_that_shrinks_is_cancelled);
	tcase_add_test(test_case, a_guest_that_goes_away_ends_it);
	tcase_add_test(test_case, a_file_that_does_not_answer_holds_up_nobody);
	tcase_add_test(test_case, a_source_that_falls_silent_is_cancelled);
	return suite_run(suite);
}
