#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "devices/block/vhdx_plan.h"

/*
 * The order that makes a change safe, whatever cuts it off:
 *   1. space that is reused is zeroed, and the file made longer
 *   2. the changes' bytes are written
 *   3. a flush: they are stable, and so is what earlier commits put in place
 *   4. the new metadata is written to the log, and flushed; the changes are done
 *   5. the metadata is written in place, which step 3 of the next commit makes stable
 * So the log never holds more than one entry that is needed.  A flush that has failed says nothing
 * of what was written before it, so none may succeed after it: the raw disk under the image keeps
 * the error (raw.c, flush_error), and no commit gets past step 3 until the file is opened again.
 */

/* Says, before anything is written, that the disk is not what it was. */
static int begin_writing(struct vhdx *vhdx, struct image_file *file)
{
	struct vhdx_header header = vhdx->header;
	int r = guid_random(&header.file_write);

	if (r == 0)
		r = guid_random(&header.data_write);
	if (r == 0)
		r = vhdx_write_header(vhdx, file, &header);
	if (r == 0)
		atomic_store_explicit(&vhdx->image.started, true, memory_order_release);
	return r;
}

static int extend(struct vhdx_plan *plan, struct image_file *file)
{
	struct vhdx *vhdx = plan->vhdx;
	CLEANUP_FREE uint8_t *page = NULL;
	int r;

	if (plan->file_bytes <= vhdx->file_bytes)
		return 0;
	page = aligned_alloc(VHDX_PAGE, VHDX_PAGE);
	if (!page)
		return -ENOMEM;
	memset(page, 0, VHDX_PAGE);
	r = image_file_write(file, plan->file_bytes - VHDX_PAGE, page, VHDX_PAGE);
	if (r == 0)
		vhdx->file_bytes = plan->file_bytes;
	return r;
}

/* Step 1: what fails is told to those that would need it. */
static void prepare(struct vhdx_plan *plan, struct image_file *file)
{
	int zeroed = 0;
	int extended = extend(plan, file);

	file->ops->write(file, plan->zeroes, plan->zero_count);
	for (unsigned int i = 0; i < plan->zero_count; i++)
		if (plan->zeroes[i].result < 0)
			zeroed = plan->zeroes[i].result;
	for (unsigned int i = 0; i < plan->step_count; i++) {
		struct vhdx_step *step = &plan->steps[i];

		if (step->change->result < 0)
			continue;
		if (extended < 0 && step->grows)
			step->change->result = extended;
		if (zeroed < 0 && step->staged >= 0)
			step->change->result = zeroed;
	}
}

/* Step 2. */
static void write_changes(struct vhdx_plan *plan, struct image_file *file)
{
	struct image_write writes[IMAGE_COMMIT_MAX];
	struct image_change *written[IMAGE_COMMIT_MAX];
	unsigned int count = 0;

	for (unsigned int i = 0; i < plan->step_count; i++) {
		const struct vhdx_step *step = &plan->steps[i];
		struct image_change *change = step->change;

		if (change->result < 0 || step->location == 0)
			continue;
		written[count] = change;
		writes[count++] = image_change_at(change, step->location);
	}
	file->ops->write(file, writes, count);
	for (unsigned int i = 0; i < count; i++)
		written[i]->result = writes[i].result;
}

/* An entry that a change is staged for is needed where the change was a success, and with it the
 * bitmap's. */
static bool find_needed(struct vhdx_plan *plan, bool *flush)
{
	bool log = false;

	for (unsigned int i = 0; i < plan->step_count; i++) {
		const struct vhdx_step *step = &plan->steps[i];

		if (step->change->result < 0)
			continue;
		if (step->staged >= 0)
			plan->staged[step->staged].needed = true;
		if (step->staged_bitmap >= 0)
			plan->staged[step->staged_bitmap].needed = true;
		log |= step->staged >= 0 || step->bits;
		*flush |= log || step->change->stable;
	}
	return log;
}

static void fail_all(struct vhdx_plan *plan, int error)
{
	for (unsigned int i = 0; i < plan->step_count; i++)
		if (plan->steps[i].change->result == 0)
			plan->steps[i].change->result = error;
	for (unsigned int i = 0; i < plan->staged_count; i++)
		vhdx_plan_abandon(plan, &plan->staged[i]);
}

/* Gives the space of blocks that are no more back to the host, as far as it takes it. */
static void punch_dropped(const struct vhdx_plan *plan, struct image_file *file)
{
	for (unsigned int i = 0; i < plan->staged_count; i++) {
		const struct vhdx_staged *staged = &plan->staged[i];

		if (staged->needed && (staged->after & VHDX_BAT_STATE) == VHDX_ZERO &&
		    (staged->before & VHDX_BAT_STATE) >= VHDX_FULLY_PRESENT)
			image_file_zero(file, staged->after & VHDX_BAT_OFFSET,
					plan->vhdx->image.block_bytes);
	}
}

static int log_changes(struct vhdx_plan *plan, struct image_file *file)
{
	CLEANUP_FREE struct vhdx_page *pages = NULL;
	int count = vhdx_plan_pages(plan, &pages);

	if (count < 0)
		return count;
	return vhdx_log_commit(plan->vhdx, file, &pages, (unsigned int)count);
}

static void run(struct vhdx_plan *plan, struct image_file *file)
{
	bool flush = false;
	bool log;
	int r = 0;

	/* Where this fails again, only what needs the log has to. */
	vhdx_log_settle(plan->vhdx, file);
	prepare(plan, file);
	write_changes(plan, file);
	log = find_needed(plan, &flush);
	if (flush)
		r = image_file_flush(file);
	if (r == 0 && log)
		r = log_changes(plan, file);
	if (r < 0) {
		fail_all(plan, r);
		return;
	}
	vhdx_plan_publish(plan);
	punch_dropped(plan, file);
}

unsigned int vhdx_commit(struct image *image, struct image_file *file,
			 struct image_change *const *changes, unsigned int count)
{
	struct vhdx *vhdx = vhdx_of(image);
	struct vhdx_plan plan = {.vhdx = vhdx, .file_bytes = vhdx->file_bytes};
	unsigned int taken = 0;
	int r = atomic_load(&image->started) ? 0 : begin_writing(vhdx, file);

	if (r < 0) {
		for (unsigned int i = 0; i < count; i++)
			changes[i]->result = r;
		return count;
	}
	while (taken < count && taken < IMAGE_COMMIT_MAX && vhdx_plan_add(&plan, changes[taken]))
		taken++;
	run(&plan, file);
	return taken;
}

int vhdx_finish(struct image *image, struct image_file *file)
{
	struct vhdx *vhdx = vhdx_of(image);
	struct vhdx_header header = vhdx->header;
	int r;

	if (!vhdx->logging)
		return 0;
	r = vhdx_log_settle(vhdx, file);
	if (r == 0)
		r = image_file_flush(file);
	if (r < 0)
		return r;
	memset(&header.log, 0, sizeof(header.log));
	r = vhdx_write_header(vhdx, file, &header);
	if (r == 0)
		vhdx->logging = false;
	return r;
}
