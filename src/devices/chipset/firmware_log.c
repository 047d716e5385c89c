#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/device.h"
#include "devices/table.h"
#include "vmm/machine.h"

/*
 * The port that SeaBIOS writes its messages to, one byte at a time, if a read of it gives 0xe9; so
 * it is there only for a user who asks for them.  The bytes go to a file, a while after they come:
 * a VP does not wait for it.  Up to 16 MiB are written at each start of the VM, for a guest could
 * go on without end; the rest is lost.
 */

#define PORT_PRESENT  0xe9
#define LOG_BYTES_MAX 65536u
#define FILE_MAX      (16u << 20)
#define FLUSH_NS      (50ull * 1000 * 1000)

struct firmware_log {
	struct io_bus *ports;
	int fd;
	int wake_fd; /* VPs signal it */
	struct event_source *wake;
	struct event_source *timer;

	pthread_mutex_t lock; /* the rest; a leaf */
	uint8_t bytes[LOG_BYTES_MAX];
	unsigned int count;
	uint64_t written, lost;
};

/* Takes what has come. */
static unsigned int take(struct firmware_log *log, uint8_t *out)
{
	unsigned int count;

	pthread_mutex_lock(&log->lock);
	count = log->count;
	memcpy(out, log->bytes, count);
	log->count = 0;
	pthread_mutex_unlock(&log->lock);
	return count;
}

/* What the file does not take, or is not to take, is lost.  Main loop. */
static void flush(struct firmware_log *log)
{
	uint8_t bytes[LOG_BYTES_MAX];
	unsigned int count = take(log, bytes), done = 0;
	unsigned int fits = (unsigned int)MIN(count, FILE_MAX - log->written);

	while (done < fits) {
		ssize_t n = write(log->fd, bytes + done, fits - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (unsigned int)n;
	}
	pthread_mutex_lock(&log->lock);
	log->written += done;
	log->lost += count - done;
	pthread_mutex_unlock(&log->lock);
}

static void on_wake(void *context, uint32_t events)
{
	struct firmware_log *log = context;
	eventfd_t count;

	eventfd_read(log->wake_fd, &count);
	event_timer_arm(log->timer, FLUSH_NS, 0);
}

static void on_timer(void *context, uint32_t events)
{
	flush(context);
}

/* Whether the loop is to hear of it: of the first byte it does. */
static bool append(struct firmware_log *log, uint8_t byte)
{
	bool tell;

	pthread_mutex_lock(&log->lock);
	tell = log->count == 0;
	if (log->count < LOG_BYTES_MAX)
		log->bytes[log->count++] = byte;
	else
		log->lost++;
	pthread_mutex_unlock(&log->lock);
	return tell;
}

static void log_access(void *context, struct io_access *access)
{
	struct firmware_log *log = context;

	if (!access->write)
		access->value = PORT_PRESENT;
	else if (append(log, (uint8_t)access->value))
		eventfd_write(log->wake_fd, 1);
}

static int watch(struct firmware_log *log, struct event_loop *loop)
{
	int rc;

	log->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (log->wake_fd < 0)
		return -errno;
	rc = event_loop_watch(loop, log->wake_fd, EPOLLIN, on_wake, log, &log->wake);
	return rc < 0 ? rc : event_loop_timer(loop, on_timer, log, &log->timer);
}

static void free_log(struct firmware_log *log)
{
	event_source_remove(log->timer);
	event_source_remove(log->wake);
	if (log->wake_fd >= 0)
		close(log->wake_fd);
	pthread_mutex_destroy(&log->lock);
	free(log);
}

static int log_create(const struct device_env *env, const json_t *config, void **device,
		      struct error *err)
{
	struct firmware_log *log = calloc(1, sizeof(*log));
	int rc;

	if (!log)
		return error_memory(err, "the firmware's log");
	log->ports = env->ports;
	log->wake_fd = -1;
	pthread_mutex_init(&log->lock, NULL);
	rc = json_unpack((json_t *)config, "{s:i}", "fd", &log->fd) ? -EINVAL
								    : watch(log, env->loop);
	if (rc == 0)
		rc = io_bus_add(env->ports, MACHINE_PORT_FIRMWARE_LOG, 1, log_access, log);
	if (rc < 0) {
		free_log(log);
		return error_host(err, -rc, "cannot make the firmware's log");
	}
	*device = log;
	return 0;
}

static void log_destroy(void *device)
{
	struct firmware_log *log = device;

	io_bus_remove(log->ports, MACHINE_PORT_FIRMWARE_LOG);
	flush(log);
	close(log->fd);
	free_log(log);
}

/* The file goes on. */
static void log_reset(void *device)
{
}

/* What is on its way is the host's, no part of the guest's state. */
static void log_save(void *device, struct state_writer *writer)
{
	flush(device);
}

static int log_restore(void *device, const struct state_node *node)
{
	return 0;
}

static void log_inspect(void *device, struct state_writer *writer)
{
	struct firmware_log *log = device;

	pthread_mutex_lock(&log->lock);
	state_put_u64(writer, "bytes-written", log->written);
	state_put_u64(writer, "bytes-lost", log->lost);
	pthread_mutex_unlock(&log->lock);
}

const struct device_ops firmware_log_device = {
	.name = "firmware_log",
	.state_version = 1,
	.create = log_create,
	.destroy = log_destroy,
	.reset = log_reset,
	.save = log_save,
	.restore = log_restore,
	.inspect = log_inspect,
};
