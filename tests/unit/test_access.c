#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "mgmt/vmms/access_rules.h"
#include "suite.h"

/* Made-up users and groups, so that the host's own do not matter. */
static int find_name(void *context, const char *name, unsigned int *id)
{
	static const struct {
		const char *name;
		unsigned int id;
	} known[] = {{"ann", 1001}, {"ben", 1002}, {"bulkhead", 300}, {"staff", 400}};
	unsigned int *asked = context;

	(*asked)++;
	for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
		if (!strcmp(known[i].name, name)) {
			*id = known[i].id;
			return 0;
		}
	}
	return -ENOENT;
}

static unsigned int asked;
static const struct access_names names = {find_name, find_name, &asked};
static const struct access_rules of_root = {0, "bulkhead", &names};
static const struct access_rules of_ann = {1001, "bulkhead", &names};

static struct caller user(uid_t uid)
{
	return (struct caller){.uid = uid, .gid = uid};
}

static bool allows(const struct access_rules *rules, const struct caller *caller, uid_t owner,
		   const char *list, enum access_right right)
{
	json_t *parsed = json_loads(list, 0, NULL);
	struct access_subject subject = {owner, parsed};
	bool allowed;

	ck_assert_ptr_nonnull(parsed);
	allowed = access_allows(rules, caller, &subject, right);
	json_decref(parsed);
	return allowed;
}

/* The highest right that a user has by a list; -1: none. */
static int right_of(const struct caller *caller, const char *list)
{
	int right = -1;

	for (int i = ACCESS_CONNECT; i <= ACCESS_ADMINISTER; i++) {
		if (!allows(&of_root, caller, 0, list, (enum access_right)i))
			break;
		right = i;
	}
	return right;
}

START_TEST(root_and_the_group_administer)
{
	gid_t groups[] = {7, 300};
	struct caller root = user(0), member = user(1002), primary = user(1002), other = user(1002);

	member.groups = groups;
	member.group_count = 2;
	primary.gid = 300;
	other.groups = groups;
	other.group_count = 1;
	ck_assert(access_is_administrator(&of_root, &root));
	ck_assert(access_is_administrator(&of_root, &member));
	ck_assert(access_is_administrator(&of_root, &primary));
	ck_assert(!access_is_administrator(&of_root, &other));
	ck_assert(allows(&of_root, &member, 1001, "[]", ACCESS_ADMINISTER));
	ck_assert(!allows(&of_root, &other, 1001, "[]", ACCESS_CONNECT));
}
END_TEST

START_TEST(without_the_group_only_root_administers)
{
	static const struct access_rules no_group = {0, "nobody-has-it", &names};
	struct caller root = user(0), ben = user(1002);

	ck_assert(access_is_administrator(&no_group, &root));
	ck_assert(!access_is_administrator(&no_group, &ben));
}
END_TEST

START_TEST(the_group_may_be_a_number)
{
	static const struct access_rules numbered = {0, "1002", &names};
	struct caller ben = user(1002), ann = user(1001);

	asked = 0;
	ck_assert(access_is_administrator(&numbered, &ben));
	ck_assert(!access_is_administrator(&numbered, &ann));
	ck_assert_uint_eq(asked, 0);
}
END_TEST

START_TEST(the_owner_may_do_everything)
{
	struct caller ann = user(1001), ben = user(1002);

	ck_assert(allows(&of_root, &ann, 1001, "[]", ACCESS_ADMINISTER));
	ck_assert(!allows(&of_root, &ben, 1001, "[]", ACCESS_CONNECT));
}
END_TEST

START_TEST(a_right_has_those_below_it)
{
	struct caller ann = user(1001);

	ck_assert_int_eq(right_of(&ann, "[{\"user\": \"ann\", \"right\": \"connect\"}]"),
			 ACCESS_CONNECT);
	ck_assert_int_eq(right_of(&ann, "[{\"user\": \"ann\", \"right\": \"operate\"}]"),
			 ACCESS_OPERATE);
	ck_assert_int_eq(right_of(&ann, "[{\"user\": \"ann\", \"right\": \"administer\"}]"),
			 ACCESS_ADMINISTER);
}
END_TEST

START_TEST(the_best_entry_counts)
{
	gid_t staff = 400;
	struct caller ann = user(1001);

	ann.groups = &staff;
	ann.group_count = 1;
	ck_assert_int_eq(right_of(&ann, "[{\"user\": \"ann\", \"right\": \"connect\"},"
					" {\"user\": \"ben\", \"right\": \"administer\"},"
					" {\"group\": \"staff\", \"right\": \"operate\"}]"),
			 ACCESS_OPERATE);
}
END_TEST

START_TEST(ids_stand_for_names)
{
	struct caller ann = user(1001);

	ck_assert_int_eq(right_of(&ann, "[{\"user\": \"1001\", \"right\": \"operate\"}]"),
			 ACCESS_OPERATE);
	ck_assert_int_eq(right_of(&ann, "[{\"group\": \"1001\", \"right\": \"connect\"}]"),
			 ACCESS_CONNECT);
	ck_assert_int_eq(right_of(&ann, "[{\"user\": \"1002\", \"right\": \"operate\"}]"), -1);
}
END_TEST

START_TEST(what_is_unknown_gives_nothing)
{
	static const char *const lists[] = {
		"[{\"user\": \"cid\", \"right\": \"administer\"}]",
		"[{\"user\": \"staff \", \"right\": \"administer\"}]",
		"[{\"user\": \"\", \"right\": \"administer\"}]",
		"[{\"user\": \"4294967295\", \"right\": \"administer\"}]",
		"[{\"user\": \"4294968297\", \"right\": \"administer\"}]", /* 2^32 + 1001 */
		"[{\"user\": \"-1\", \"right\": \"administer\"}]",
		"[{\"user\": 1001, \"right\": \"administer\"}]",
		"[{\"user\": \"ann\", \"right\": \"own\"}]",
		"[{\"user\": \"ann\"}]",
		"[{\"right\": \"administer\"}]",
		"[{\"user\": \"ann\", \"group\": \"staff\", \"right\": \"administer\"}]",
		"[7, null, [], \"ann\"]",
		"{\"user\": \"ann\", \"right\": \"administer\"}",
	};
	struct caller ann = user(1001);

	for (size_t i = 0; i < ARRAY_LENGTH(lists); i++)
		ck_assert_msg(right_of(&ann, lists[i]) == -1, "%s", lists[i]);
}
END_TEST

START_TEST(the_daemon_of_a_user_is_his_alone)
{
	gid_t administrators = 300;
	struct caller root = user(0), ann = user(1001), ben = user(1002);
	const char *list = "[{\"user\": \"ben\", \"right\": \"administer\"}]";

	ben.groups = &administrators;
	ben.group_count = 1;
	ck_assert(allows(&of_ann, &ann, 1001, "[]", ACCESS_ADMINISTER));
	ck_assert(allows(&of_ann, &root, 1001, "[]", ACCESS_ADMINISTER));
	ck_assert(!allows(&of_ann, &ben, 1001, list, ACCESS_CONNECT));
	ck_assert(!allows(&of_ann, &ben, 1002, list, ACCESS_CONNECT));
}
END_TEST

START_TEST(a_caller_is_who_connected)
{
	gid_t groups[64];
	int count = getgroups(64, groups);
	struct caller caller, copy;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(caller_of_socket(pair[0], &caller), 0);
	ck_assert_uint_eq(caller.uid, getuid());
	ck_assert_uint_eq(caller.gid, getgid());
	ck_assert_int_eq(caller.pid, getpid());
	ck_assert_uint_eq(caller.group_count, (size_t)count);
	ck_assert_int_eq(caller_copy(&caller, &copy), 0);
	caller_free(&caller);
	for (int i = 0; i < count; i++)
		ck_assert(caller_in_group(&copy, groups[i]));
	caller_free(&copy);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

START_TEST(nobody_is_no_caller)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct caller caller;

	ck_assert_int_eq(caller_of_socket(fd, &caller), -ENOTCONN);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("access", &tests);

	tcase_add_test(tests, root_and_the_group_administer);
	tcase_add_test(tests, without_the_group_only_root_administers);
	tcase_add_test(tests, the_group_may_be_a_number);
	tcase_add_test(tests, the_owner_may_do_everything);
	tcase_add_test(tests, a_right_has_those_below_it);
	tcase_add_test(tests, the_best_entry_counts);
	tcase_add_test(tests, ids_stand_for_names);
	tcase_add_test(tests, what_is_unknown_gives_nothing);
	tcase_add_test(tests, the_daemon_of_a_user_is_his_alone);
	tcase_add_test(tests, a_caller_is_who_connected);
	tcase_add_test(tests, nobody_is_no_caller);
	return suite_run(suite);
}
