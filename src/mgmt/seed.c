#include "mgmt/seed.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/memfd.h"
#include "mgmt/program.h"

#define PIECE_BYTES (64u << 10)

/* What cloud-init looks for; without one of them it takes the image for something else. */
static int check_files(const char *directory, struct error *err)
{
	static const char *const names[] = {"user-data", "meta-data"};
	CLEANUP_CLOSE int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_set(err, errno, "--seed %.200s: %s; give a directory", directory,
				 strerror(errno));
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		if (faccessat(fd, names[i], R_OK, 0))
			return error_set(err, errno,
					 "--seed %.200s: %s: %s; put a readable one there, which "
					 "may be empty",
					 directory, names[i], strerror(errno));
	}
	return 0;
}

/* What comes from the pipe, until its end or one byte too many; -errno. */
static int take_image(int pipe, int image, bool *too_large)
{
	CLEANUP_FREE uint8_t *piece = malloc(PIECE_BYTES);
	uint64_t bytes = 0;
	ssize_t length;

	if (!piece)
		return -ENOMEM;
	while ((length = read(pipe, piece, PIECE_BYTES)) != 0) {
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return -errno;
		bytes += (uint64_t)length;
		*too_large = bytes > SEED_BYTES_MAX;
		if (*too_large)
			return 0;
		for (ssize_t done = 0, part; done < length; done += part) {
			part = write(image, piece + done, (size_t)(length - done));
			if (part < 0)
				return -errno;
		}
	}
	return 0;
}

/* Ends it where its image is not wanted; what to make of its end. */
static int await_xorriso(pid_t pid, const char *directory, bool too_large, struct error *err)
{
	int status = 0;

	if (too_large)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (too_large)
		return error_set(err, EFBIG,
				 "--seed %.200s: its files make an image of more than %u MiB; "
				 "leave there what cloud-init reads, and give the rest by a disk",
				 directory, SEED_BYTES_MAX >> 20);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return error_set(err, EIO,
				 "--seed %.200s: xorriso cannot make an image of it (xorriso -as "
				 "mkisofs %.200s tells why)",
				 directory, directory);
	return 0;
}

/* Starts it with output as its standard output, and nothing else of ours. */
static int start_xorriso(const char *directory, int output, pid_t *pid, struct error *err)
{
	CLEANUP_FREE char *absolute = realpath(directory, NULL); /* which is no option */
	const char *const arguments[] = {"xorriso", "-as",     "mkisofs",	 "-quiet", "-volid",
					 "cidata",  "-joliet", "-rational-rock", absolute, NULL};
	char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", NULL};
	CLEANUP_CLOSE int silence = open("/dev/null", O_WRONLY | O_CLOEXEC);
	const struct program_file files[] = {{output, STDOUT_FILENO}, {silence, STDERR_FILENO}};
	int r;

	if (!absolute)
		return error_set(err, errno, "--seed %.200s: %s; give a directory", directory,
				 strerror(errno));
	r = -program_start(arguments[0], arguments, environment, files, ARRAY_LENGTH(files), pid);
	if (r == ENOENT)
		return error_set(err, r,
				 "--seed needs xorriso, which is not installed; install "
				 "the package xorriso");
	return r ? error_host(err, r, "--seed: cannot start xorriso") : 0;
}

static int run_xorriso(const char *directory, int image, struct error *err)
{
	bool too_large = false;
	int ends[2];
	CLEANUP_CLOSE int ours = -1;
	CLEANUP_CLOSE int theirs = -1;
	pid_t pid;
	int r, ended;

	if (pipe2(ends, O_CLOEXEC))
		return error_host(err, errno, "--seed: cannot make a pipe");
	ours = ends[0];
	theirs = ends[1];
	r = start_xorriso(directory, theirs, &pid, err);
	if (r)
		return r;
	close(TAKE_FD(theirs));
	r = take_image(ours, image, &too_large);
	close(TAKE_FD(ours)); /* where it still writes, it is to end */
	ended = await_xorriso(pid, directory, too_large, err);
	return r ? error_host(err, -r, "--seed: no memory for the image") : ended;
}

/* The image may only be read, whoever gets the descriptor. */
static int read_only(int fd, struct error *err)
{
	char path[64];
	int only;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	only = open(path, O_RDONLY | O_CLOEXEC);
	return only < 0 ? error_host(err, errno, "--seed: cannot open the image") : only;
}

int seed_make(const char *directory, struct error *err)
{
	CLEANUP_CLOSE int fd = memfd_new("seed", 0);
	int r;

	if (fd < 0)
		return error_host(err, -fd, "--seed: no memory for the image");
	r = check_files(directory, err);
	if (!r)
		r = run_xorriso(directory, fd, err);
	return r ? r : read_only(fd, err);
}
