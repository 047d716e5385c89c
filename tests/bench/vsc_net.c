/*
 * Frames from, or to, the software guest through the network VSP:
 *   vsc_net [-r] [-c CHANNELS] [-s BYTES] [-t SECONDS] [-p RATE] [-T FILE] [-P FILE]
 *           null|tap|straight
 * -r receives (null only, one channel).  -p holds each channel to so many frames a second.  -T
 * traces the bus to a file, -P captures the frames, both from nothing.  tap sends into a tap that
 * is made for it; straight writes the same frames there without a VSP.  Frames above 1514 bytes are
 * sent as large TCP segments of 1448.  Each channel has a queue of the backend, an I/O thread and a
 * thread of the guest. Prints frames a second, bytes a second, the CPU time that I/O threads spent
 * on each frame, and how many CPUs they and the guest kept busy.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/capture.h"
#include "base/checked.h"
#include "base/wire.h"
#include "vmbus/trace.h"
#include "vsc_net.h"

#define FRAME_MAX 65226u
#define HEADERS	  54u
#define SEGMENT	  1448u
#define IN_FLIGHT 60u /* less than the sections that the driver takes in turn */
#define BATCH	  64u

struct options {
	bool receive;
	unsigned int channels;
	uint32_t bytes;
	double seconds;
	double rate; /* frames a second of each channel; 0: as many as can be */
	const char *trace;
	const char *frames_file;
	const char *mode;
};

struct figures {
	uint64_t frames;
	double seconds;
	double cpu;
	double guest_cpu;
};

static double now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void read_cpu_time(void *context)
{
	*(double *)context = now(CLOCK_THREAD_CPUTIME_ID);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int usage(void)
{
	fprintf(stderr, "usage: vsc_net [-r] [-c CHANNELS] [-s BYTES] [-t SECONDS] [-p RATE] "
			"[-T FILE] [-P FILE] null|tap|straight\n");
	return 2;
}

static int parse(int argc, char **argv, struct options *options)
{
	int letter;

	*options = (struct options){.channels = 1, .bytes = 60, .seconds = 1};
	while ((letter = getopt(argc, argv, "rc:s:t:p:T:P:")) != -1) {
		switch (letter) {
		case 'r':
			options->receive = true;
			break;
		case 'c':
			options->channels = (unsigned int)atoi(optarg);
			break;
		case 's':
			options->bytes = (uint32_t)atoi(optarg);
			break;
		case 't':
			options->seconds = atof(optarg);
			break;
		case 'p':
			options->rate = atof(optarg);
			break;
		case 'T':
			options->trace = optarg;
			break;
		case 'P':
			options->frames_file = optarg;
			break;
		default:
			return usage();
		}
	}
	if (optind != argc - 1 || options->bytes < HEADERS || options->bytes > FRAME_MAX ||
	    options->channels == 0 || options->channels > VSC_NET_IO_THREADS_MAX)
		return usage();
	options->mode = argv[optind];
	return 0;
}

/* Up, with virtio's header; nobody is behind it but the host's own stack, which drops. */
static void make_tap(int *fds, unsigned int queues)
{
	struct ifreq request = {.ifr_name = "bhbench%d"};
	int other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int header = sizeof(struct virtio_net_hdr);

	for (unsigned int i = 0; i < queues; i++) {
		request.ifr_flags =
			IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (queues > 1 ? IFF_MULTI_QUEUE : 0);
		fds[i] = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
		if (fds[i] < 0 || other < 0)
			die("/dev/net/tun");
		if (ioctl(fds[i], TUNSETIFF, &request) < 0 ||
		    ioctl(fds[i], TUNSETVNETHDRSZ, &header) < 0)
			die("a tap");
	}
	request.ifr_flags = IFF_UP;
	if (ioctl(other, SIOCSIFFLAGS, &request) < 0)
		die("a tap cannot be set up");
	close(other);
}

/* TCP over IPv4, from an address of its own to one that is not the host's. */
static void make_frame(uint8_t *frame, uint32_t bytes, bool whole)
{
	uint8_t *ip = frame + 14, *tcp = ip + 20;
	uint32_t sum = 6 + (whole ? bytes - 34 : 0) + 2 * 0x0a00 + 3;

	memset(frame, 0x55, bytes);
	memset(frame, 0, HEADERS);
	memcpy(frame, "\x02\0\0\0\0\x02\x02\0\0\0\0\x01", 12);
	put_be16(frame + 12, 0x0800);
	ip[0] = 0x45;
	put_be16(ip + 2, whole ? (uint16_t)(bytes - 14) : 0);
	ip[8] = 64;
	ip[9] = 6;
	put_be32(ip + 12, 0x0a000001);
	put_be32(ip + 16, 0x0a000002);
	put_be16(tcp + 2, 80);
	tcp[12] = 5 << 4;
	put_be16(tcp + 16, (uint16_t)((sum & 0xffff) + (sum >> 16)));
}

static void measure_straight(const struct options *options, struct figures *figures)
{
	static uint8_t frame[FRAME_MAX];
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	struct iovec iov[2] = {{&header, sizeof(header)}, {frame, options->bytes}};
	double start, cpu;
	int fd;

	make_tap(&fd, 1);
	make_frame(frame, options->bytes, true);
	if (options->bytes > 1514) {
		header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		header.gso_size = SEGMENT;
		header.hdr_len = HEADERS;
	}
	start = now(CLOCK_MONOTONIC);
	cpu = now(CLOCK_THREAD_CPUTIME_ID);
	do {
		for (unsigned int i = 0; i < BATCH; i++)
			if (writev(fd, iov, 2) < 0)
				die("a tap");
		figures->frames += BATCH;
		figures->seconds = now(CLOCK_MONOTONIC) - start;
	} while (figures->seconds < options->seconds);
	figures->cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
	close(fd);
}

/* What one thread of the guest sends on its channel. */
struct sender {
	struct vsc_net *net;
	const struct options *options;
	unsigned int index;
	unsigned int frames;
	double seconds;
	double cpu;
	pthread_t thread;
};

/* Sleeps until the rate allows what was sent, from start on. */
static void keep_pace(double start, unsigned int sent, double rate)
{
	double due = start + sent / rate;
	const struct timespec until = {.tv_sec = (time_t)due,
				       .tv_nsec = (long)((due - (double)(time_t)due) * 1e9)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void *send_frames(void *context)
{
	struct sender *sender = context;
	const struct options *options = sender->options;
	uint8_t frame[FRAME_MAX];
	bool large = options->bytes > 1514;
	const struct vsc_net_send how = {
		.direct = large,
		.checksum = 1 | 4 | 34u << 16,
		.large_send = large ? NDIS_LARGE_SEND_V2 | 34u << 20 | SEGMENT : 0,
	};
	double start = now(CLOCK_MONOTONIC);
	unsigned int first = sender->net->channels[sender->index].completed, sent = 0;

	make_frame(frame, options->bytes, !large);
	do {
		for (unsigned int i = 0; i < BATCH; i++, sent++) {
			vsc_net_wait_sent(sender->net, sender->index,
					  first + (sent > IN_FLIGHT ? sent - IN_FLIGHT : 0));
			/* No driver copies a large frame: it is sent from where it lies. */
			if (vsc_net_send(sender->net, sender->index,
					 large && sent > 0 ? NULL : frame, options->bytes,
					 &how) < 0)
				die("the ring is full");
		}
		if (options->rate > 0)
			keep_pace(start, sent, options->rate);
		sender->seconds = now(CLOCK_MONOTONIC) - start;
	} while (sender->seconds < options->seconds);
	vsc_net_wait_sent(sender->net, sender->index, first + sent);
	sender->frames = sent;
	sender->cpu = now(CLOCK_THREAD_CPUTIME_ID);
	return NULL;
}

static void send_on_all(struct vsc_net *net, const struct options *options, struct figures *figures)
{
	struct sender senders[VSC_NET_IO_THREADS_MAX];

	for (unsigned int i = 0; i < options->channels; i++) {
		senders[i] = (struct sender){.net = net, .options = options, .index = i};
		if (pthread_create(&senders[i].thread, NULL, send_frames, &senders[i]))
			die("a thread");
	}
	for (unsigned int i = 0; i < options->channels; i++) {
		pthread_join(senders[i].thread, NULL);
		figures->frames += senders[i].frames;
		figures->seconds = MAX(figures->seconds, senders[i].seconds);
		figures->guest_cpu += senders[i].cpu;
	}
}

static void open_subchannels(struct vsc_net *net, unsigned int count)
{
	struct nvsp_message message = {.type = NVSP_SUBCHANNEL,
				       .subchannel = {NVSP_SUBCHANNEL_ALLOCATE, count}};

	if (count == 0)
		return;
	message = vsc_net_nvsp(net, &message, sizeof(message));
	if (message.type != NVSP_SUBCHANNEL || message.subchannel.count != count)
		die("sub-channels");
	for (unsigned int i = 1; i <= count; i++)
		vsc_net_open(net, i);
}

static void receive_frames(struct vsc_net *net, const struct options *options,
			   struct figures *figures)
{
	const uint8_t filter[4] = {NDIS_FILTER_BROADCAST};
	double start;

	vsc_net_set(net, OID_GEN_CURRENT_PACKET_FILTER, filter, sizeof(filter));
	start = now(CLOCK_MONOTONIC);
	do {
		for (unsigned int i = 0; i < BATCH; i++)
			vsc_net_receive(net, 0, true);
		figures->frames += BATCH;
		figures->seconds = now(CLOCK_MONOTONIC) - start;
	} while (figures->seconds < options->seconds);
}

static int open_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		die(path);
	return fd;
}

static json_t *make_config(const struct options *options)
{
	json_t *config = json_pack("{s:s}", "mac", "02:00:00:00:00:01");

	if (options->frames_file)
		json_object_set_new(config, "capture_fd",
				    json_integer(open_file(options->frames_file)));
	if (strcmp(options->mode, "tap") == 0) {
		int fds[VSC_NET_IO_THREADS_MAX];
		json_t *list = json_array();

		make_tap(fds, options->channels);
		for (unsigned int i = 0; i < options->channels; i++)
			json_array_append_new(list, json_integer(fds[i]));
		json_object_set_new(config, "backend", json_string("tap"));
		json_object_set_new(config, "fds", list);
		json_object_set_new(config, "mtu", json_integer(1500));
		return config;
	}
	json_object_set_new(config, "backend", json_string("null"));
	json_object_set_new(config, "queues", json_integer(options->channels));
	if (options->receive)
		json_object_set_new(config, "generate", json_integer(options->bytes));
	return config;
}

static double io_cpu(struct vsc_net *net)
{
	double sum = 0, one;

	for (unsigned int i = 0; i < net->io_thread_count; i++) {
		io_thread_call(net->io_threads[i], read_cpu_time, &one);
		sum += one;
	}
	return sum;
}

/* A trace of the bus, begun and ended on the main loop. */
struct trace {
	struct vsc_net *net;
	const char *path;
	struct capture *capture;
};

static void start_trace(void *context)
{
	struct trace *trace = context;
	const struct capture_config config = {
		.fd = open_file(trace->path),
		.link_type = CAPTURE_LINK_USER0,
		.name = "vmbus",
		.description = "a benchmark",
		.thread = trace->net->io_threads[0],
		.loop = vsc_loop(trace->net->vsc),
	};

	if (capture_new(&config, &trace->capture) < 0)
		die("a trace");
	vmbus_set_trace(vsc_vmbus(trace->net->vsc), trace->capture);
}

static void stop_trace(void *context)
{
	struct trace *trace = context;

	vmbus_set_trace(vsc_vmbus(trace->net->vsc), NULL);
	capture_free(trace->capture);
}

static void measure_vsp(const struct options *options, struct figures *figures)
{
	static struct vsc_net net;
	struct trace trace = {.net = &net, .path = options->trace};
	double cpu_start;

	vsc_net_start(&net, options->channels, options->channels, make_config(options));
	vsc_net_open(&net, 0);
	vsc_net_initialize(&net, NVSP_VERSION_61, 1500);
	open_subchannels(&net, options->channels - 1);
	if (trace.path)
		vsc_main(net.vsc, start_trace, &trace);
	cpu_start = io_cpu(&net);
	if (options->receive)
		receive_frames(&net, options, figures);
	else
		send_on_all(&net, options, figures);
	figures->cpu = io_cpu(&net) - cpu_start;
	if (trace.path)
		vsc_main(net.vsc, stop_trace, &trace);
	vsc_net_stop(&net);
}

int main(int argc, char **argv)
{
	struct figures figures = {0};
	struct options options;

	if (parse(argc, argv, &options) != 0)
		return 2;
	if (strcmp(options.mode, "straight") == 0)
		measure_straight(&options, &figures);
	else
		measure_vsp(&options, &figures);
	printf("frames %.0f bytes %.0f cpu %.0f ns busy %.2f guest %.2f\n",
	       (double)figures.frames / figures.seconds,
	       (double)figures.frames * options.bytes / figures.seconds,
	       figures.cpu * 1e9 / (double)figures.frames, figures.cpu / figures.seconds,
	       figures.guest_cpu / figures.seconds);
	return 0;
}
