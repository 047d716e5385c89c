#include "mgmt/file_feed.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define ANSWER_NS   10000000000ull
#define PIECE_BYTES (64u << 10)

/* What the thread says of the file. */
struct answer {
	int error; /* negative errno */
	uint64_t size;
};

/* The loop's and its threads', each of which has a share in it. */
struct file_feeds {
	struct event_loop *loop;
	atomic_uint shares;
};

/* The thread's, and nobody else's: it may outlive all interest in it. */
struct feed {
	struct file_feeds *feeds;
	int answer_fd, data_fd;
	char *path;
	bool wants_one; /* only the file of that id will do */
	struct file_feed_id wanted;
	uint8_t piece[PIECE_BYTES];
};

/* The loop's. */
struct file_feed {
	int answer_fd, data_fd;
	struct event_source *source, *timer;
	file_feed_opened opened;
	void *context;
};

int file_feeds_new(struct event_loop *loop, struct file_feeds **out)
{
	struct file_feeds *feeds = calloc(1, sizeof(*feeds));

	if (!feeds)
		return -ENOMEM;
	feeds->loop = loop;
	atomic_init(&feeds->shares, 1);
	*out = feeds;
	return 0;
}

void file_feeds_free(struct file_feeds *feeds)
{
	if (feeds && atomic_fetch_sub(&feeds->shares, 1) == 1)
		free(feeds);
}

static struct answer open_file(const struct feed *feed, int *fd)
{
	struct answer answer = {0};
	struct stat status;

	/* Nobody waits for the writer of a FIFO. */
	*fd = open(feed->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (*fd < 0 || fstat(*fd, &status) < 0)
		answer.error = -errno;
	else if (!S_ISREG(status.st_mode))
		answer.error = -ENOTSUP;
	else if (feed->wants_one &&
		 (status.st_dev != feed->wanted.device || status.st_ino != feed->wanted.inode))
		answer.error = -ESTALE;
	else
		answer.size = (uint64_t)status.st_size;
	return answer;
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
	while (size > 0) {
		ssize_t done = write(fd, data, size);

		if (done <= 0)
			return false;
		data += done;
		size -= (size_t)done;
	}
	return true;
}

static void *feed_thread(void *context)
{
	struct feed *feed = context;
	struct answer answer;
	ssize_t length = 0;
	int fd;

	answer = open_file(feed, &fd);
	if (write(feed->answer_fd, &answer, sizeof(answer)) != sizeof(answer))
		answer.error = -EPIPE;
	close(feed->answer_fd);
	while (answer.error == 0 && (length = read(fd, feed->piece, PIECE_BYTES)) > 0 &&
	       write_all(feed->data_fd, feed->piece, (size_t)length))
		;
	close(feed->data_fd);
	/* Last, for it may never return. */
	if (fd >= 0)
		close(fd);
	file_feeds_free(feed->feeds);
	free(feed->path);
	free(feed);
	return NULL;
}

static int start_thread(struct file_feeds *feeds, const char *path,
			const struct file_feed_id *wanted, int answer_fd, int data_fd)
{
	struct feed *feed = malloc(sizeof(*feed));
	char *copy = strdup(path);
	pthread_t thread;
	int r = feed && copy ? 0 : ENOMEM;

	if (r == 0) {
		feed->feeds = feeds;
		atomic_fetch_add(&feeds->shares, 1);
		feed->answer_fd = answer_fd;
		feed->data_fd = data_fd;
		feed->path = copy;
		feed->wants_one = wanted;
		if (wanted)
			feed->wanted = *wanted;
		r = pthread_create(&thread, NULL, feed_thread, feed);
		if (r)
			file_feeds_free(feeds);
	}
	if (r == 0) {
		pthread_detach(thread);
		return 0;
	}
	free(copy);
	free(feed);
	return -r;
}

static void file_feed_free(struct file_feed *feed)
{
	event_source_remove(feed->source);
	event_source_remove(feed->timer);
	if (feed->answer_fd >= 0)
		close(feed->answer_fd);
	if (feed->data_fd >= 0)
		close(feed->data_fd);
	free(feed);
}

static void end(struct file_feed *feed, int error, uint64_t size)
{
	file_feed_opened opened = feed->opened;
	void *context = feed->context;
	int fd = error < 0 ? error : TAKE_FD(feed->data_fd);

	file_feed_free(feed);
	opened(context, fd, size);
}

static void on_answer(void *context, uint32_t events)
{
	struct file_feed *feed = context;
	struct answer answer;

	if (read(feed->answer_fd, &answer, sizeof(answer)) != sizeof(answer))
		answer = (struct answer){.error = -EIO};
	end(feed, answer.error, answer.size);
}

static void on_timer(void *context, uint32_t events)
{
	end(context, -ETIMEDOUT, 0);
}

static int watch(struct file_feed *feed, struct event_loop *loop)
{
	int r = event_loop_watch(loop, feed->answer_fd, EPOLLIN, on_answer, feed, &feed->source);

	if (r == 0)
		r = event_loop_timer(loop, on_timer, feed, &feed->timer);
	return r < 0 ? r : event_timer_arm(feed->timer, ANSWER_NS, 0);
}

int file_feed_open(struct file_feeds *feeds, const char *path, const struct file_feed_id *wanted,
		   file_feed_opened opened, void *context)
{
	struct file_feed *feed;
	int answer[2] = {-1, -1}, data[2] = {-1, -1};
	int r;

	/* Threads only ever give shares back. */
	if (atomic_load(&feeds->shares) > FILE_FEEDS_MAX)
		return -EAGAIN;
	feed = calloc(1, sizeof(*feed));
	if (!feed)
		return -ENOMEM;
	*feed = (struct file_feed){
		.answer_fd = -1, .data_fd = -1, .opened = opened, .context = context};
	r = pipe2(answer, O_CLOEXEC) < 0 || pipe2(data, O_CLOEXEC) < 0 ? -errno : 0;
	feed->answer_fd = answer[0];
	feed->data_fd = data[0];
	if (r == 0)
		r = watch(feed, feeds->loop);
	if (r == 0)
		r = start_thread(feeds, path, wanted, answer[1], data[1]);
	if (r == 0)
		return 0;
	if (answer[1] >= 0)
		close(answer[1]);
	if (data[1] >= 0)
		close(data[1]);
	file_feed_free(feed);
	return r;
}
