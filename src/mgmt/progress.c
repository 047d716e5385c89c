#include "mgmt/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define USUAL_COLUMNS 80
#define BAR_MAX	      40
#define BAR_MIN	      5

void progress_begin(struct progress *progress, const char *title)
{
	*progress = (struct progress){.title = title, .terminal = isatty(STDERR_FILENO)};
}

static int columns(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? USUAL_COLUMNS
								       : size.ws_col;
}

static void draw_bar(int width, unsigned int percent)
{
	int full = (int)((unsigned int)width * percent / 100);

	fputs(" [", stderr);
	for (int i = 0; i < width; i++)
		fputc(i < full ? '#' : '.', stderr);
	fputc(']', stderr);
}

void progress_update(struct progress *progress, uint64_t done, uint64_t total)
{
	unsigned int percent = total ? (unsigned int)(done * 100.0 / total) : 0;
	char figures[80];
	int length, room;

	if (!progress->terminal || !total)
		return;
	length = snprintf(figures, sizeof(figures), " %3u %% of %" PRIu64 " MiB", percent,
			  (total + (1 << 20) - 1) >> 20);
	/* The last column stays free: some terminals go to the next line with it. */
	room = columns() - 1 - length;
	fprintf(stderr, "\r\033[K%.*s", room > 0 ? room : 0, progress->title);
	room -= (int)strlen(progress->title) + 3;
	if (room >= BAR_MIN)
		draw_bar(room < BAR_MAX ? room : BAR_MAX, percent);
	fputs(figures, stderr);
	fflush(stderr);
	progress->drawn = true;
}

void progress_end(struct progress *progress)
{
	if (progress->drawn)
		fputs("\r\033[K", stderr);
	progress->drawn = false;
}
