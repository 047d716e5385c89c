#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "mgmt/file_feed.h"
#include "suite.h"

/* What is opened, and the pipes that come of it, which nobody reads. */
struct rig {
	char path[64];
	struct event_loop *loop;
	struct file_feeds *feeds;
	int fds[FILE_FEEDS_MAX];
	unsigned int count;
	unsigned int wanted; /* has the loop stop */
};

static void opened(void *context, int fd, uint64_t size)
{
	struct rig *rig = context;

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(size, 1 << 20);
	rig->fds[rig->count++] = fd;
	if (rig->count == rig->wanted)
		event_loop_stop(rig->loop, 0);
}

/* More than a pipe takes, so its thread waits. */
static void set_up(struct rig *rig)
{
	int fd;

	signal(SIGPIPE, SIG_IGN);
	*rig = (struct rig){.path = "/tmp/bulkhead-feed-XXXXXX"};
	fd = mkstemp(rig->path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	close(fd);
	ck_assert_int_eq(event_loop_new(&rig->loop), 0);
	ck_assert_int_eq(file_feeds_new(rig->loop, &rig->feeds), 0);
}

static void open_files(struct rig *rig, unsigned int count)
{
	rig->wanted = count;
	for (unsigned int i = 0; i < count; i++)
		ck_assert_int_eq(file_feed_open(rig->feeds, rig->path, NULL, opened, rig), 0);
	ck_assert_int_eq(event_loop_run(rig->loop), 0);
}

static void close_files(struct rig *rig)
{
	while (rig->count > 0)
		close(rig->fds[--rig->count]);
}

START_TEST(files_that_wait_are_counted)
{
	struct rig rig;
	int r;

	set_up(&rig);
	open_files(&rig, FILE_FEEDS_MAX);
	r = file_feed_open(rig.feeds, rig.path, NULL, opened, &rig);
	ck_assert_int_eq(r, -EAGAIN);
	close_files(&rig);
	/* The threads find that out by themselves. */
	rig.wanted = 1;
	while ((r = file_feed_open(rig.feeds, rig.path, NULL, opened, &rig)) == -EAGAIN)
		usleep(1000);
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(event_loop_run(rig.loop), 0);
	file_feeds_free(rig.feeds); /* while one goes on */
	close_files(&rig);
	event_loop_free(rig.loop);
	unlink(rig.path);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("file_feed", &tests);

	tcase_add_test(tests, files_that_wait_are_counted);
	return suite_run(suite);
}
