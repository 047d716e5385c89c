#include "devices/vsp/video.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "devices/desktop.h"
#include "devices/vsp/video_wire.h"

#define STATE_VERSION 2 /* since 2: "claimed" */

static const uint32_t versions[] = {VIDEO_VERSION_WIN10, VIDEO_VERSION_WIN8, VIDEO_VERSION_WIN7};

static const struct video_resolution resolutions[] = {
	{640, 480},   {800, 600},   {1024, 768},  {1152, 864},	{1280, 720},  {1280, 1024},
	{1366, 768},  {1440, 900},  {1600, 900},  {1600, 1200}, {1680, 1050}, {1920, 1080},
	{1920, 1200}, {2048, 1536}, {2560, 1440}, {2560, 1600},
};

static struct video *from_synth(struct synth *synth)
{
	return container_of(synth, struct video, synth);
}

static bool version_known(uint32_t version)
{
	for (size_t i = 0; i < ARRAY_LENGTH(versions); i++) {
		if (versions[i] == version)
			return true;
	}
	return false;
}

static struct video_header header_of(uint32_t type, size_t size)
{
	return (struct video_header){type, (uint32_t)size};
}

/* Asks for what a viewer needs; the guest says nothing of it unasked. */
static void ask_features(struct video *video)
{
	const struct video_feature_change message = {
		.header = header_of(VIDEO_FEATURE_CHANGE, sizeof(message)),
		.dirt_needed = video->watched,
		.pointer_position_needed = video->watched,
		.pointer_shape_needed = video->watched,
		.situation_needed = 1,
	};

	video->asked = video->watched ? VIDEO_ASKED_ALL : VIDEO_ASKED_LITTLE;
	video->feature_queued =
		synth_send(&video->synth, &message, sizeof(message), false) == -ENOBUFS;
}

/* If the guest was asked, and for something else. */
static void ask_anew(struct video *video)
{
	if (video->asked != VIDEO_ASKED_NOTHING &&
	    (video->asked == VIDEO_ASKED_ALL) != video->watched)
		ask_features(video);
}

void video_watch(struct video *video, bool watched)
{
	video->watched = watched;
	ask_anew(video);
}

static void room(struct synth *synth)
{
	if (from_synth(synth)->feature_queued)
		ask_features(from_synth(synth));
}

static void on_version(struct video *video, const uint8_t *data)
{
	struct video_version_response response = {
		.header = header_of(VIDEO_VERSION_RESPONSE, sizeof(response)),
		.max_outputs = 1,
	};
	uint32_t version;

	memcpy(&version, data, sizeof(version));
	response.version = version;
	response.accepted = version_known(version);
	video->version = response.accepted ? version : 0;
	synth_send(&video->synth, &response, sizeof(response), true);
}

static void on_resolutions(struct video *video, const uint8_t *data)
{
	struct video_resolution_response response = {
		.header = header_of(VIDEO_RESOLUTION_RESPONSE, sizeof(response)),
		.standard = 1,
	};
	uint8_t max = data[0];

	/* The preferred one is the first, in case the guest takes no more. */
	response.resolutions[response.count++] =
		(struct video_resolution){video->preferred_width, video->preferred_height};
	for (size_t i = 0; i < ARRAY_LENGTH(resolutions) && response.count < max; i++) {
		if (memcmp(&resolutions[i], &response.resolutions[0], sizeof(resolutions[i])) != 0)
			response.resolutions[response.count++] = resolutions[i];
	}
	synth_send(&video->synth, &response, sizeof(response), true);
}

static void hide(struct video *video)
{
	const struct device_env *env = video->synth.env;

	if (video->shown)
		env->events->show_memory(env->context, PARTITION_SHOWN_VIDEO, 0, 0, NULL);
	video->shown = false;
	video->gpa = 0;
}

static int show(struct video *video, uint64_t gpa)
{
	const struct device_env *env = video->synth.env;
	int r;

	if (video->shown && gpa == video->gpa)
		return 0;
	if (video->moves == VIDEO_MOVES_MAX)
		return -EBUSY;
	video->moves++;
	/* It is the VGA's memory, and may be there as that. */
	if (env->desktop && gpa != 0 && env->desktop->screen.linear_at == gpa) {
		hide(video);
		return 0;
	}
	r = env->events->show_memory(env->context, PARTITION_SHOWN_VIDEO, gpa, DISPLAY_VRAM_BYTES,
				     video->memory);
	video->shown = r == 0;
	video->gpa = r == 0 ? gpa : 0;
	return r;
}

/* A place that cannot be has an answer that is not the guest's. */
static void on_location(struct video *video, const uint8_t *data)
{
	struct video_vram_location location;
	struct video_ack ack = {.header = header_of(VIDEO_VRAM_LOCATION_ACK, sizeof(ack))};
	bool fits = true;

	memcpy(&location, data, sizeof(location));
	if (location.specified)
		fits = show(video, location.gpa) == 0;
	ack.user_context = fits ? location.user_context : ~location.user_context;
	synth_send(&video->synth, &ack, sizeof(ack), true);
	ask_features(video);
}

/* Whether a picture of that shape lies within the memory. */
static bool mode_fits(const struct video_mode *mode)
{
	uint64_t row = (uint64_t)mode->width * (mode->depth / 8), length;

	if (mode->depth != 16 && mode->depth != 32)
		return false;
	if (mode->width == 0 || mode->width > DISPLAY_WIDTH_MAX || mode->height == 0 ||
	    mode->height > DISPLAY_HEIGHT_MAX || mode->pitch < row ||
	    !is_aligned(mode->offset, 4) || !is_aligned(mode->pitch, 4))
		return false;
	length = (uint64_t)mode->pitch * (mode->height - 1) + row;
	return range_within(mode->offset, length, DISPLAY_VRAM_BYTES);
}

static void set_mode(struct video *video, const struct video_mode *mode, bool claimed)
{
	if (video->claimed == claimed && memcmp(&video->mode, mode, sizeof(*mode)) == 0)
		return;
	video->claimed = claimed;
	video->mode = *mode;
	video->on_mode(video->context);
}

static void on_situation(struct video *video, const uint8_t *data)
{
	struct video_situation situation;
	struct video_mode mode;
	struct video_ack ack = {.header = header_of(VIDEO_SITUATION_UPDATE_ACK, sizeof(ack))};

	memcpy(&situation, data, sizeof(situation));
	mode = (struct video_mode){.width = situation.output.width,
				   .height = situation.output.height,
				   .depth = situation.output.depth,
				   .pitch = situation.output.pitch,
				   .offset = situation.output.vram_offset};
	if (situation.output_count == 0 || !situation.output.active)
		mode = (struct video_mode){0};
	if (mode.width == 0 && situation.output_count > 0 && situation.output.active)
		video->synth.malformed++;
	else if (mode.width != 0 && !mode_fits(&mode))
		video->synth.malformed++;
	else
		set_mode(video, &mode, true);
	ack.user_context = situation.user_context;
	synth_send(&video->synth, &ack, sizeof(ack), true);
}

static void on_position(struct video *video, const uint8_t *data)
{
	struct video_pointer_position position;

	memcpy(&position, data, sizeof(position));
	video->pointer.visible = position.visible != 0;
	video->pointer.x = position.x;
	video->pointer.y = position.y;
}

/* Its image is nobody's: viewers show the pointer that the guest draws, or their own. */
static void on_shape(struct video *video, const uint8_t *data)
{
	struct video_pointer_shape shape;

	memcpy(&shape, data, sizeof(shape));
	if (shape.width > VIDEO_POINTER_MAX || shape.height > VIDEO_POINTER_MAX ||
	    shape.hot_x > VIDEO_POINTER_MAX || shape.hot_y > VIDEO_POINTER_MAX) {
		video->synth.malformed++;
		return;
	}
	video->pointer.width = shape.width;
	video->pointer.height = shape.height;
	video->pointer.hot_x = shape.hot_x;
	video->pointer.hot_y = shape.hot_y;
}

static uint32_t clip(int32_t value, uint32_t limit)
{
	return value < 0 ? 0 : MIN((uint32_t)value, limit);
}

void video_area_add(struct video_area *area, const struct video_area *more)
{
	if (more->x1 >= more->x2 || more->y1 >= more->y2)
		return;
	if (area->x1 == area->x2)
		*area = *more;
	else
		*area = (struct video_area){MIN(area->x1, more->x1), MIN(area->y1, more->y1),
					    MAX(area->x2, more->x2), MAX(area->y2, more->y2)};
}

static void on_dirt(struct video *video, const uint8_t *data, uint32_t size)
{
	struct video_rectangle rectangle;
	struct video_area all = {0};
	struct video_dirt dirt;

	memcpy(&dirt, data, sizeof(dirt));
	if ((size - sizeof(dirt)) / sizeof(rectangle) < dirt.count || dirt.output != 0) {
		video->synth.malformed++;
		return;
	}
	for (unsigned int i = 0; i < dirt.count; i++) {
		memcpy(&rectangle, data + sizeof(dirt) + i * sizeof(rectangle), sizeof(rectangle));
		video_area_add(&all, &(struct video_area){clip(rectangle.x1, video->mode.width),
							  clip(rectangle.y1, video->mode.height),
							  clip(rectangle.x2, video->mode.width),
							  clip(rectangle.y2, video->mode.height)});
	}
	if (all.x1 < all.x2)
		video->on_dirt(video->context, &all);
	video->dirts++;
}

/* Bytes that each of the guest's messages has at least, after its header; 0: none of its. */
static uint32_t least_size(const struct video *video, uint32_t type)
{
	static const uint8_t sizes[] = {
		[VIDEO_VERSION_REQUEST] = sizeof(uint32_t),
		[VIDEO_VRAM_LOCATION] = sizeof(struct video_vram_location),
		[VIDEO_SITUATION_UPDATE] = sizeof(struct video_situation),
		[VIDEO_POINTER_POSITION] = sizeof(struct video_pointer_position),
		[VIDEO_POINTER_SHAPE] = sizeof(struct video_pointer_shape),
		[VIDEO_DIRT] = sizeof(struct video_dirt),
		[VIDEO_RESOLUTION_REQUEST] = sizeof(uint8_t),
	};

	if (type >= ARRAY_LENGTH(sizes))
		return 0;
	/* Nothing but the version before there is one, and no resolutions before Windows 10. */
	if (type != VIDEO_VERSION_REQUEST && video->version == 0)
		return 0;
	if (type == VIDEO_RESOLUTION_REQUEST && video->version != VIDEO_VERSION_WIN10)
		return 0;
	return sizes[type];
}

static void handle(struct video *video, uint32_t type, const uint8_t *data, uint32_t size)
{
	switch (type) {
	case VIDEO_VERSION_REQUEST:
		on_version(video, data);
		break;
	case VIDEO_VRAM_LOCATION:
		on_location(video, data);
		break;
	case VIDEO_SITUATION_UPDATE:
		on_situation(video, data);
		break;
	case VIDEO_POINTER_POSITION:
		on_position(video, data);
		break;
	case VIDEO_POINTER_SHAPE:
		on_shape(video, data);
		break;
	case VIDEO_DIRT:
		on_dirt(video, data, size);
		break;
	case VIDEO_RESOLUTION_REQUEST:
		on_resolutions(video, data);
		break;
	default:
		assert(!"least_size knows a type that is not handled");
	}
}

static void received(struct synth *synth, const uint8_t *data, uint32_t size)
{
	struct video *video = from_synth(synth);
	struct video_header header = {0};
	uint32_t least;

	if (size >= sizeof(header))
		memcpy(&header, data, sizeof(header));
	least = least_size(video, header.type);
	if (least == 0 || header.size > size || header.size < sizeof(header) + least) {
		synth->malformed++;
		return;
	}
	handle(video, header.type, data + sizeof(header), header.size - (uint32_t)sizeof(header));
}

/* The last picture stays: a kernel that panics closes the channel, too. */
static void closed(struct synth *synth)
{
	from_synth(synth)->version = 0;
	from_synth(synth)->feature_queued = false;
	from_synth(synth)->asked = VIDEO_ASKED_NOTHING;
}

static void opened(struct synth *synth)
{
	closed(synth);
}

const struct synth_ops video_ops = {
	.name = "video",
	.class_id = GUID_INIT(0xda0a7802, 0xe377, 0x4aac, 0x8e, 0x77, 0x05, 0x58, 0xeb, 0x10, 0x73,
			      0xf8),
	.instance_id = GUID_INIT(0x5620e0c7, 0x8062, 0x4dce, 0xae, 0xb7, 0x52, 0x0c, 0x7e, 0xf7,
				 0x61, 0x71),
	.pipe = true,
	.mmio_megabytes = DISPLAY_VRAM_BYTES >> 20,
	.received = received,
	.room = room,
	.opened = opened,
	.closed = closed,
};

void video_reset(struct video *video)
{
	static const struct video_mode off;

	hide(video);
	video->moves = 0;
	/* What is not there reads as zero. */
	madvise(video->memory, DISPLAY_VRAM_BYTES, MADV_REMOVE);
	video->pointer = (struct video_pointer){0};
	set_mode(video, &off, false);
}

static void save_mode(const struct video_mode *mode, struct state_writer *writer)
{
	state_put_u32(writer, "width", mode->width);
	state_put_u32(writer, "height", mode->height);
	state_put_u32(writer, "depth", mode->depth);
	state_put_u32(writer, "pitch", mode->pitch);
	state_put_u32(writer, "offset", mode->offset);
}

void video_save(struct video *video, struct state_writer *writer)
{
	const struct video_pointer *pointer = &video->pointer;

	state_begin(writer, video_ops.name, STATE_VERSION);
	state_put_u32(writer, "version", video->version);
	state_put_u32(writer, "shown", video->shown);
	state_put_u64(writer, "gpa", video->gpa);
	state_put_u32(writer, "feature-queued", video->feature_queued);
	state_put_u32(writer, "asked", video->asked);
	state_put_u32(writer, "claimed", video->claimed);
	save_mode(&video->mode, writer);
	state_put_u32(writer, "pointer-visible", pointer->visible);
	state_put_u32(writer, "pointer-x", (uint32_t)pointer->x);
	state_put_u32(writer, "pointer-y", (uint32_t)pointer->y);
	state_put_u64(writer, "dirts", video->dirts);
	synth_save(&video->synth, writer);
	state_end(writer);
}

static int restore_mode(const struct state_node *node, struct video_mode *mode)
{
	int r = state_get_u32(node, "width", &mode->width);

	if (r == 0)
		r = state_get_u32(node, "height", &mode->height);
	if (r == 0)
		r = state_get_u32(node, "depth", &mode->depth);
	if (r == 0)
		r = state_get_u32(node, "pitch", &mode->pitch);
	if (r == 0)
		r = state_get_u32(node, "offset", &mode->offset);
	if (r == 0 && mode->width != 0 && !mode_fits(mode))
		r = -EINVAL;
	return r;
}

static int restore_pointer(const struct state_node *node, struct video_pointer *pointer)
{
	uint32_t x, y;
	int r = state_get_u32(node, "pointer-visible", &pointer->visible);

	if (r == 0)
		r = state_get_u32(node, "pointer-x", &x);
	if (r == 0)
		r = state_get_u32(node, "pointer-y", &y);
	if (r < 0)
		return r;
	pointer->x = (int32_t)x;
	pointer->y = (int32_t)y;
	return 0;
}

static int restore_place(struct video *video, const struct state_node *node)
{
	uint32_t shown;
	uint64_t gpa;
	int r = state_get_u32(node, "shown", &shown);

	if (r == 0)
		r = state_get_u64(node, "gpa", &gpa);
	if (r < 0)
		return r;
	hide(video);
	return shown ? show(video, gpa) : 0;
}

int video_restore(struct video *video, const struct state_node *parent)
{
	struct video_pointer pointer = {0};
	struct video_mode mode = {0};
	uint32_t version, feature_queued, asked, claimed;
	uint64_t dirts;
	struct state_node node;
	int r = state_child(parent, video_ops.name, STATE_VERSION, &node);

	if (r == 0)
		r = state_get_u32(&node, "version", &version);
	if (r == 0)
		r = state_get_u32(&node, "feature-queued", &feature_queued);
	if (r == 0)
		r = state_get_u32(&node, "asked", &asked);
	if (r == 0)
		r = state_get_u32(&node, "claimed", &claimed);
	if (r == 0 && asked > VIDEO_ASKED_ALL)
		r = -EINVAL;
	if (r == 0)
		r = state_get_u64(&node, "dirts", &dirts);
	if (r == 0)
		r = restore_mode(&node, &mode);
	if (r == 0)
		r = restore_pointer(&node, &pointer);
	if (r == 0 && version != 0 && !version_known(version))
		r = -EINVAL;
	if (r == 0)
		r = synth_restore(&video->synth, &node);
	if (r == 0)
		r = restore_place(video, &node);
	if (r < 0)
		return r;
	video->version = version;
	video->feature_queued = feature_queued;
	video->asked = asked;
	video->dirts = dirts;
	video->pointer = pointer;
	set_mode(video, &mode, claimed);
	ask_anew(video);
	return 0;
}
