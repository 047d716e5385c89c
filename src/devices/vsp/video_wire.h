#pragma once

#include <assert.h>
#include <stdint.h>

/*
 * The synthetic video device on the wire (Linux drivers/gpu/drm/hyperv/hyperv_drm_proto.c and
 * drivers/video/fbdev/hyperv_fb.c), behind a struct pipe_header.  All numbers are little-endian.
 */

/* The major number is the lower half. */
#define VIDEO_VERSION(major, minor) ((uint32_t)(minor) << 16 | (major))
#define VIDEO_VERSION_WIN7	    VIDEO_VERSION(3, 0)
#define VIDEO_VERSION_WIN8	    VIDEO_VERSION(3, 2)
#define VIDEO_VERSION_WIN10	    VIDEO_VERSION(3, 5)

enum video_message {
	VIDEO_VERSION_REQUEST = 1,
	VIDEO_VERSION_RESPONSE = 2,
	VIDEO_VRAM_LOCATION = 3,
	VIDEO_VRAM_LOCATION_ACK = 4,
	VIDEO_SITUATION_UPDATE = 5,
	VIDEO_SITUATION_UPDATE_ACK = 6,
	VIDEO_POINTER_POSITION = 7,
	VIDEO_POINTER_SHAPE = 8,
	VIDEO_FEATURE_CHANGE = 9,
	VIDEO_DIRT = 10,
	VIDEO_RESOLUTION_REQUEST = 13,
	VIDEO_RESOLUTION_RESPONSE = 14,
};

struct video_header {
	uint32_t type;
	uint32_t size; /* of the message, with this */
} __attribute__((packed));
static_assert(sizeof(struct video_header) == 8, "wire layout");

struct video_version_response {
	struct video_header header;
	uint32_t version;
	uint8_t accepted;
	uint8_t max_outputs;
} __attribute__((packed));

struct video_vram_location {
	uint64_t user_context; /* comes back in the answer */
	uint8_t specified;
	uint64_t gpa;
} __attribute__((packed));
static_assert(sizeof(struct video_vram_location) == 17, "wire layout");

/* The answers to VRAM_LOCATION and SITUATION_UPDATE. */
struct video_ack {
	struct video_header header;
	uint64_t user_context;
} __attribute__((packed));

struct video_output {
	uint8_t active;
	uint32_t vram_offset;
	uint8_t depth; /* bits */
	uint32_t width;
	uint32_t height;
	uint32_t pitch; /* bytes */
} __attribute__((packed));

struct video_situation {
	uint64_t user_context;
	uint8_t output_count;
	struct video_output output; /* the first */
} __attribute__((packed));
static_assert(sizeof(struct video_situation) == 27, "wire layout");

struct video_pointer_position {
	uint8_t visible;
	uint8_t output;
	int32_t x;
	int32_t y;
} __attribute__((packed));

#define VIDEO_POINTER_MAX 96u /* pixels, each way */

/* Followed by a part of the image. */
struct video_pointer_shape {
	uint8_t part;
	uint8_t argb;
	uint32_t width;
	uint32_t height;
	uint32_t hot_x;
	uint32_t hot_y;
} __attribute__((packed));

struct video_feature_change {
	struct video_header header;
	uint8_t dirt_needed;
	uint8_t pointer_position_needed;
	uint8_t pointer_shape_needed;
	uint8_t situation_needed;
} __attribute__((packed));
static_assert(sizeof(struct video_feature_change) == 12, "wire layout");

struct video_rectangle {
	int32_t x1, y1; /* top left */
	int32_t x2, y2; /* bottom right, not in it */
} __attribute__((packed));

/* Followed by count rectangles. */
struct video_dirt {
	uint8_t output;
	uint8_t count;
} __attribute__((packed));

#define VIDEO_EDID_SIZE	      128u
#define VIDEO_RESOLUTIONS_MAX 64u

struct video_resolution {
	uint16_t width;
	uint16_t height;
} __attribute__((packed));

struct video_resolution_response {
	struct video_header header;
	uint8_t edid[VIDEO_EDID_SIZE];
	uint8_t count;
	uint8_t preferred; /* index */
	uint8_t standard;
	struct video_resolution resolutions[VIDEO_RESOLUTIONS_MAX];
} __attribute__((packed));
static_assert(sizeof(struct video_resolution_response) == 8 + 128 + 3 + 256, "wire layout");
