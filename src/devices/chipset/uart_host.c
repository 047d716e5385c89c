#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "devices/chipset/uart_internal.h"

#define FLUSH_DELAY_NS	  2000000u
#define FLUSH_ROUNDS	  4
#define CHUNK_MAX	  4096u
#define DRAIN_PATIENCE_MS 5000

/* Output. */

static void wake_loop(struct uart *uart)
{
	eventfd_write(uart->wake_fd, 1);
}

void uart_host_transmit(struct uart *uart, uint8_t byte)
{
	if (uart->output_broken) {
		uart->bytes_lost += uart->output_error != 0;
		return;
	}
	if (uart->output_count == UART_OUTPUT_MAX) {
		uart->bytes_lost++;
		return;
	}
	uart->output[(uart->output_start + uart->output_count++) % UART_OUTPUT_MAX] = byte;
	if (!uart->output_noted) {
		uart->output_noted = true;
		wake_loop(uart);
	} else if (!uart->output_urgent && uart->output_count >= UART_OUTPUT_MAX / 2) {
		uart->output_urgent = true;
		wake_loop(uart);
	}
}

/* Copies out what lies in one piece at the ring's start. */
static unsigned int peek_output(struct uart *uart, uint8_t chunk[CHUNK_MAX])
{
	unsigned int count;

	pthread_mutex_lock(&uart->lock);
	count = MIN(uart->output_count, UART_OUTPUT_MAX - uart->output_start);
	count = MIN(count, CHUNK_MAX);
	memcpy(chunk, &uart->output[uart->output_start], count);
	pthread_mutex_unlock(&uart->lock);
	return count;
}

static void take_output(struct uart *uart, unsigned int count)
{
	bool was_empty;

	pthread_mutex_lock(&uart->lock);
	was_empty = uart_transmitter_empty(uart);
	uart->output_start = (uart->output_start + count) % UART_OUTPUT_MAX;
	uart->output_count -= count;
	uart->bytes_out += count;
	uart_output_taken(uart, was_empty);
	pthread_mutex_unlock(&uart->lock);
}

/* A descriptor shared with others may be in blocking mode: ask before each write. */
static ssize_t write_if_ready(int fd, const uint8_t *data, unsigned int count)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	ssize_t written;

	if (poll(&ready, 1, 0) == 0)
		return -EAGAIN;
	do {
		written = write(fd, data, count);
	} while (written < 0 && errno == EINTR);
	return written < 0 ? -errno : written;
}

static void drop_output(struct uart *uart, int errnum)
{
	bool was_empty;

	pthread_mutex_lock(&uart->lock);
	was_empty = uart_transmitter_empty(uart);
	uart->output_broken = true;
	uart->output_error = errnum;
	uart->bytes_lost += uart->output_count;
	uart->output_count = 0;
	uart_output_taken(uart, was_empty);
	pthread_mutex_unlock(&uart->lock);
}

static void on_output_ready(void *context, uint32_t epoll_events)
{
	struct uart *uart = context;

	event_source_remove(uart->output_source);
	uart->output_source = NULL;
	uart_host_flush(uart);
}

/* Goes on when the descriptor takes bytes again; one that cannot be watched is tried later. */
static void wait_writable(struct uart *uart)
{
	if (uart->output_source)
		return;
	if (event_loop_watch(uart->loop, uart->output_fd, EPOLLOUT, on_output_ready, uart,
			     &uart->output_source) < 0)
		event_timer_arm(uart->flush_timer, FLUSH_DELAY_NS, 0);
}

/* After a round of writes: the next byte, or what is left, makes the loop look again. */
static void end_flush(struct uart *uart)
{
	bool more;

	pthread_mutex_lock(&uart->lock);
	more = uart->output_count > 0;
	uart->output_noted = more;
	uart->output_urgent = false;
	pthread_mutex_unlock(&uart->lock);
	if (more)
		event_timer_arm(uart->flush_timer, FLUSH_DELAY_NS, 0);
}

void uart_host_flush(struct uart *uart)
{
	uint8_t chunk[CHUNK_MAX];

	if (uart->output_source)
		return;
	for (unsigned int round = 0; round < FLUSH_ROUNDS; round++) {
		unsigned int count = peek_output(uart, chunk);
		ssize_t written;

		if (count == 0)
			break;
		written = write_if_ready(uart->output_fd, chunk, count);
		if (written == -EAGAIN) {
			wait_writable(uart);
			return;
		}
		if (written < 0) {
			drop_output(uart, (int)-written);
			break;
		}
		take_output(uart, (unsigned int)written);
	}
	end_flush(uart);
}

static void on_flush_timer(void *context, uint32_t epoll_events)
{
	uart_host_flush(context);
}

/* Input. */

static void read_input(struct uart *uart);

static void on_input(void *context, uint32_t epoll_events)
{
	read_input(context);
}

static void stop_input(struct uart *uart)
{
	event_source_remove(uart->input_source);
	uart->input_source = NULL;
}

/* Watches only while there is room: a descriptor that has hung up is always ready.  A file
 * cannot be watched, and needs no waiting for. */
static void start_input(struct uart *uart)
{
	int rc;

	if (uart->input_fd < 0 || uart->input_source)
		return;
	rc = event_loop_watch(uart->loop, uart->input_fd, EPOLLIN, on_input, uart,
			      &uart->input_source);
	if (rc == -EPERM)
		read_input(uart);
}

/* One reading, at most what there is room for; then waits for room if it is all taken. */
static void read_input(struct uart *uart)
{
	uint8_t bytes[UART_FIFO_SIZE];
	unsigned int room;
	ssize_t count = 0;
	bool paused;

	pthread_mutex_lock(&uart->lock);
	room = uart_input_room(uart);
	pthread_mutex_unlock(&uart->lock);
	if (room > 0) {
		count = read(uart->input_fd, bytes, room);
		if (count < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (count <= 0) {
			stop_input(uart);
			return;
		}
	}
	pthread_mutex_lock(&uart->lock);
	for (ssize_t i = 0; i < count; i++)
		uart_receive(uart, bytes[i]);
	uart->bytes_in += (uint64_t)count;
	paused = uart_input_room(uart) == 0 || !uart->input_source;
	uart->input_paused = paused;
	uart_update_interrupt(uart);
	pthread_mutex_unlock(&uart->lock);
	if (paused)
		stop_input(uart);
}

void uart_host_room_made(struct uart *uart)
{
	if (uart->input_paused && uart_input_room(uart) > 0)
		wake_loop(uart);
}

/* Whether the last flush was long ago: the first byte after a silence need not wait for more. */
static bool is_rested(struct uart *uart)
{
	uint64_t now = clock_now_ns();
	bool rested = now - uart->flushed_ns >= FLUSH_DELAY_NS;

	uart->flushed_ns = now;
	return rested;
}

static void on_wake(void *context, uint32_t epoll_events)
{
	struct uart *uart = context;
	bool flush_now, output_new, resume_input;
	eventfd_t count;

	eventfd_read(uart->wake_fd, &count);
	pthread_mutex_lock(&uart->lock);
	flush_now = uart->output_urgent;
	output_new = uart->output_noted;
	resume_input = uart->input_paused && uart_input_room(uart) > 0;
	if (resume_input)
		uart->input_paused = false;
	pthread_mutex_unlock(&uart->lock);
	if (flush_now || (output_new && is_rested(uart)))
		uart_host_flush(uart);
	else if (output_new)
		event_timer_arm(uart->flush_timer, FLUSH_DELAY_NS, 0);
	if (resume_input)
		start_input(uart);
}

int uart_host_open(struct uart *uart, struct event_loop *loop, int input_fd, int output_fd)
{
	int rc;

	uart->loop = loop;
	uart->output_broken = output_fd < 0;
	uart->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (uart->wake_fd < 0)
		return -errno;
	rc = event_loop_watch(loop, uart->wake_fd, EPOLLIN, on_wake, uart, &uart->wake);
	if (rc < 0)
		goto fail_close;
	rc = event_loop_timer(loop, on_flush_timer, uart, &uart->flush_timer);
	if (rc < 0)
		goto fail_wake;
	uart->input_fd = input_fd;
	uart->output_fd = output_fd;
	start_input(uart);
	return 0;

fail_wake:
	event_source_remove(uart->wake);
fail_close:
	close(uart->wake_fd);
	return rc;
}

/* The last words of a guest are not lost to a reader that is slow, only to one that is stuck. */
static void drain_output(struct uart *uart)
{
	struct pollfd ready = {.fd = uart->output_fd, .events = POLLOUT};

	while (uart->output_count > 0 && !uart->output_broken &&
	       poll(&ready, 1, DRAIN_PATIENCE_MS) > 0)
		uart_host_flush(uart);
	if (uart->output_count > 0)
		drop_output(uart, ETIMEDOUT);
}

void uart_host_close(struct uart *uart)
{
	event_source_remove(uart->output_source);
	uart->output_source = NULL;
	drain_output(uart);
	event_source_remove(uart->output_source);
	stop_input(uart);
	event_source_remove(uart->flush_timer);
	event_source_remove(uart->wake);
	if (uart->input_fd >= 0)
		close(uart->input_fd);
	if (uart->output_fd >= 0 && uart->output_fd != uart->input_fd)
		close(uart->output_fd);
	close(uart->wake_fd);
}
