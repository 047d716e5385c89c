/*
 * Random 4 KiB transfers from the software guest through the storage VSP:
 *   vsc_blk [-w] [-b] -d DEPTH -t SECONDS FILE|null
 * -w writes, -b goes through the page cache.  Prints transfers a second, and the CPU time that
 * the VSP's I/O thread spent on each.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vsc_stor.h"

#define BLOCK	     4096u
#define DEPTH_MAX    256u
#define RING_PAGES   33u /* 128 KiB and the header, as Linux's driver has it */
/* What a fixed image's file has at most besides the disk. */
#define FORMAT_BYTES (64u << 20)
#define NULL_BYTES   (1ll << 30)

struct options {
	bool write;
	bool buffered;
	unsigned int depth;
	double seconds;
	const char *file;
	const char *format; /* NULL: raw */
};

struct run {
	struct vsc_stor stor;
	uint64_t blocks;
	uint64_t gpa; /* a block for each slot */
	uint64_t random;
	uint64_t done;
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

static int usage(void)
{
	fprintf(stderr, "usage: vsc_blk [-w] [-b] -d DEPTH -t SECONDS FILE|null\n");
	return 2;
}

static int parse(int argc, char **argv, struct options *options)
{
	int letter;

	*options = (struct options){.depth = 1, .seconds = 1};
	while ((letter = getopt(argc, argv, "wbd:t:f:")) != -1) {
		switch (letter) {
		case 'w':
			options->write = true;
			break;
		case 'b':
			options->buffered = true;
			break;
		case 'f':
			options->format = optarg;
			break;
		case 'd':
			options->depth = (unsigned int)atoi(optarg);
			break;
		case 't':
			options->seconds = atof(optarg);
			break;
		default:
			return usage();
		}
	}
	if (optind != argc - 1 || options->depth < 1 || options->depth > DEPTH_MAX)
		return usage();
	options->file = argv[optind];
	return 0;
}

/* The controller's configuration, or NULL with a sentence printed. */
static json_t *make_config(const struct options *options, struct run *run)
{
	struct stat stat;
	int fd;

	if (strcmp(options->file, "null") == 0) {
		run->blocks = NULL_BYTES / BLOCK;
		return json_pack("{s:[{s:s,s:I}]}", "disks", "backend", "null", "bytes",
				 (json_int_t)NULL_BYTES);
	}
	fd = open(options->file, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &stat) < 0) {
		perror(options->file);
		return NULL;
	}
	run->blocks = (uint64_t)stat.st_size / BLOCK;
	if (options->format)
		run->blocks -= FORMAT_BYTES / BLOCK;
	return json_pack("{s:[{s:i,s:s,s:s,s:b}]}", "disks", "fd", fd, "backend",
			 options->format ? options->format : "raw", "name", options->file, "direct",
			 !options->buffered);
}

static void send(struct run *run, const struct options *options, uint64_t slot)
{
	struct vsc_stor_command command;

	run->random = run->random * 6364136223846793005ull + 1442695040888963407ull;
	command = vsc_stor_transfer(options->write, (run->random >> 20) % run->blocks * BLOCK,
				    run->gpa + slot * BLOCK, BLOCK, slot + 1);
	if (vsc_stor_send(&run->stor.channel, run->stor.packet, &command) < 0) {
		fprintf(stderr, "vsc_blk: the ring is full\n");
		exit(1);
	}
}

/* Takes one answer and sends the slot's next transfer; false when there is none. */
static bool turn(struct run *run, const struct options *options, bool wait)
{
	struct vstor_packet answer;
	int64_t id = vsc_stor_receive(&run->stor.channel, run->stor.packet, wait, &answer);

	if (id < 0)
		return false;
	if (answer.srb.srb_status != SRB_STATUS_SUCCESS) {
		fprintf(stderr, "vsc_blk: a transfer failed\n");
		exit(1);
	}
	run->done++;
	send(run, options, (uint64_t)id - 1);
	return true;
}

static void drain(struct run *run, unsigned int depth)
{
	struct vstor_packet answer;

	while (depth-- > 0)
		vsc_stor_receive(&run->stor.channel, run->stor.packet, true, &answer);
}

static void measure(struct run *run, const struct options *options)
{
	double start, cpu_start, cpu_end;

	for (uint64_t slot = 0; slot < options->depth; slot++)
		send(run, options, slot);
	io_thread_call(run->stor.io_threads[0], read_cpu_time, &cpu_start);
	run->done = 0;
	start = now(CLOCK_MONOTONIC);
	do {
		turn(run, options, true);
		while (turn(run, options, false))
			;
	} while (now(CLOCK_MONOTONIC) - start < options->seconds);
	printf("iops %.0f", (double)run->done / (now(CLOCK_MONOTONIC) - start));
	io_thread_call(run->stor.io_threads[0], read_cpu_time, &cpu_end);
	printf(" cpu %.0f ns\n", (cpu_end - cpu_start) * 1e9 / (double)run->done);
	drain(run, options->depth);
}

int main(int argc, char **argv)
{
	static struct run run = {.random = 1};
	struct options options;
	json_t *config;

	if (parse(argc, argv, &options) != 0)
		return 2;
	config = make_config(&options, &run);
	if (!config)
		return 1;
	vsc_stor_start(&run.stor, 1, 1, config);
	vsc_stor_open(&run.stor, 0, RING_PAGES, &run.stor.channel);
	vsc_stor_initialize(&run.stor, VSTOR_VERSION_WIN10);
	run.gpa = vsc_pages(run.stor.vsc, options.depth);
	measure(&run, &options);
	vsc_stor_stop(&run.stor);
	return 0;
}
