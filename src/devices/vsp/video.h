#pragma once

#include "devices/vsp/display_wire.h"
#include "devices/vsp/synth.h"

/*
 * The synthetic video device.  Its memory is a file of its own, shown to the guest where the guest
 * says; what the file holds is not in the saved state: who saves RAM saves it, too.  Main loop.
 */

#define VIDEO_MOVES_MAX 1024u /* of the memory between restarts: the host works hard for each */

struct video_mode {
	uint32_t width; /* 0: the screen is off */
	uint32_t height;
	uint32_t depth; /* bits: 16 (5:6:5) or 32 (8:8:8 in the lower bits) */
	uint32_t pitch; /* bytes */
	uint32_t offset;
};

struct video_area {
	uint32_t x1, y1, x2, y2; /* x2 and y2 are outside; x1 == x2: nothing */
};

struct video_pointer {
	uint32_t visible;
	int32_t x, y;
	uint32_t width, height, hot_x, hot_y; /* of the shape */
};

/* What the guest was last told that is needed. */
enum video_asked {
	VIDEO_ASKED_NOTHING,
	VIDEO_ASKED_LITTLE, /* what the screen's shape is */
	VIDEO_ASKED_ALL,    /* changes, too: somebody watches */
};

struct video {
	struct synth synth;
	void *memory; /* DISPLAY_VRAM_BYTES */
	uint16_t preferred_width, preferred_height;
	uint32_t version;    /* agreed; 0: none */
	uint64_t gpa;	     /* where the guest has the memory; valid if shown */
	bool shown;	     /* to the guest */
	unsigned int moves;  /* of the memory, since the last restart */
	bool watched;	     /* somebody wants to hear of changes */
	uint32_t asked;	     /* enum video_asked */
	bool feature_queued; /* what features are needed is to be said when there is room */
	bool claimed;	     /* the guest has said what it shows, since the last restart */
	struct video_mode mode;
	struct video_pointer pointer;
	uint64_t dirts;
	/* The mode, or a part of the screen, has changed. */
	void (*on_mode)(void *context);
	void (*on_dirt)(void *context, const struct video_area *area);
	void *context;
};

extern const struct synth_ops video_ops;

/* Extends an area so that it covers more, too. */
void video_area_add(struct video_area *area, const struct video_area *more);

/* Whether somebody wants to hear of changes. */
void video_watch(struct video *video, bool watched);

/* As after a restart: screen off, memory zeroed and nowhere.  VPs paused. */
void video_reset(struct video *video);

void video_save(struct video *video, struct state_writer *writer);
int video_restore(struct video *video, const struct state_node *parent);
