/* The null NIC backend, as a front end uses it. */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "devices/net/net.h"
#include "suite.h"

#define BUFFERS	     3
#define BUFFER_BYTES 2000

static struct {
	struct iovec iov[3];
	struct net_buffer buffer;
	uint8_t data[BUFFER_BYTES];
	uint32_t received;
} buffers[BUFFERS];
static unsigned int next_buffer;
static unsigned int frames;
static unsigned int suspended;
static struct io_thread *thread;
static struct net_port *port;
static struct net_queue *queue;

static struct net_buffer *give_buffer(void *context)
{
	if (next_buffer == BUFFERS)
		return NULL;
	buffers[next_buffer].iov[1] = (struct iovec){buffers[next_buffer].data, 5};
	buffers[next_buffer].iov[2] =
		(struct iovec){buffers[next_buffer].data + 5, BUFFER_BYTES - 5};
	buffers[next_buffer].buffer = (struct net_buffer){
		.iov = buffers[next_buffer].iov, .iov_count = 3, .bytes = BUFFER_BYTES};
	return &buffers[next_buffer++].buffer;
}

static void take_frame(void *context, struct net_buffer *buffer, uint32_t bytes,
		       const struct net_offload *offload)
{
	buffers[next_buffer - 1].received = bytes;
	frames += bytes > 0;
}

static void note_suspended(void *context)
{
	suspended++;
}

static const struct net_queue_events events = {
	.buffer = give_buffer, .received = take_frame, .suspended = note_suspended};

static void open_port(json_t *config)
{
	const struct net_backend *backend = net_backend_find("null");
	struct error err;

	ck_assert_ptr_nonnull(backend);
	next_buffer = frames = suspended = 0;
	ck_assert_msg(backend->open(config, &port, &err) == 0, "%s", err.text);
	json_decref(config);
	ck_assert_int_eq(io_thread_new("nic", 8, &thread), 0);
	ck_assert_int_eq(backend->attach(port, 0, thread, &events, NULL, &queue), 0);
	backend->resume(queue);
}

static void suspend(void *context)
{
	port->backend->suspend(queue);
}

static void close_port(void)
{
	io_thread_call(thread, suspend, NULL);
	ck_assert_uint_eq(suspended, 1);
	port->backend->detach(queue);
	port->backend->close(port);
	io_thread_free(thread);
}

static int sent_result;

static void sent(struct net_transmit *transmit, int result)
{
	sent_result = result;
}

static void send_frame(const void *data, uint32_t bytes, struct net_offload offload)
{
	struct iovec iov[3] = {{0}, {(void *)data, 7}, {(uint8_t *)data + 7, bytes - 7}};
	struct net_transmit transmit = {
		.iov = iov, .iov_count = 3, .bytes = bytes, .offload = offload, .done = sent};

	sent_result = 1;
	port->backend->transmit(queue, &transmit);
}

START_TEST(forgets_what_is_sent)
{
	open_port(json_object());
	send_frame("a frame of some kind", 20, (struct net_offload){0});
	ck_assert_int_eq(sent_result, 0);
	ck_assert_uint_eq(frames, 0);
	close_port();
}
END_TEST

START_TEST(echoes_within_its_buffers_and_offloads)
{
	static const char text[] = "what is sent comes back";
	static const struct net_offload csum = {.needs_csum = true};

	open_port(json_pack("{s:b}", "echo", 1));
	send_frame(text, sizeof(text), csum);
	ck_assert_int_eq(sent_result, -EOPNOTSUPP);
	ck_assert_int_eq(port->backend->set_offloads(port, NET_OFFLOAD_CSUM), 0);
	send_frame(text, sizeof(text), csum);
	ck_assert_int_eq(sent_result, 0);
	ck_assert_uint_eq(buffers[0].received, sizeof(text));
	ck_assert_str_eq((char *)buffers[0].data, text);
	send_frame(text, sizeof(text), csum);
	send_frame(text, sizeof(text), csum);
	ck_assert_int_eq(sent_result, 0);
	send_frame(text, sizeof(text), csum);
	ck_assert_int_eq(sent_result, -ENOBUFS);
	close_port();
}
END_TEST

static void run_batch(void *context)
{
}

START_TEST(generates_as_long_as_there_are_buffers)
{
	open_port(json_pack("{s:i}", "generate", 60));
	ck_assert_int_eq(io_thread_start(thread, NULL, NULL), 0);
	while (__atomic_load_n(&frames, __ATOMIC_RELAXED) < BUFFERS)
		io_thread_call(thread, run_batch, NULL);
	ck_assert_uint_eq(buffers[BUFFERS - 1].received, 60);
	ck_assert_uint_eq(buffers[0].data[0], 0xff);
	close_port();
}
END_TEST

START_TEST(refuses_nonsense)
{
	static const char *const keys[] = {"queues", "mtu", "generate"};
	json_t *config = json_pack("{s:i}", keys[_i], 1 << 20);
	struct error err;

	ck_assert_int_eq(net_backend_find("null")->open(config, &port, &err), -EINVAL);
	json_decref(config);
	ck_assert_ptr_null(net_backend_find("nothing"));
}
END_TEST

int main(void)
{
	TCase *tcase;
	Suite *suite = suite_of("net_null", &tcase);

	tcase_add_test(tcase, forgets_what_is_sent);
	tcase_add_test(tcase, echoes_within_its_buffers_and_offloads);
	tcase_add_test(tcase, generates_as_long_as_there_are_buffers);
	tcase_add_loop_test(tcase, refuses_nonsense, 0, 3);
	return suite_run(suite);
}
