#include "devices/block/chs.h"

#include "base/checked.h"

#define GEOMETRY_MAX (65535ull * 16 * 255) /* sectors */

struct chs chs_of(uint64_t all)
{
	uint64_t total = MIN(all, GEOMETRY_MAX);
	uint64_t sectors = 17, heads, cylinder_heads;

	if (total >= 65535ull * 16 * 63) {
		sectors = 255;
		heads = 16;
		cylinder_heads = total / sectors;
	} else {
		cylinder_heads = total / sectors;
		heads = MAX((cylinder_heads + 1023) / 1024, 4ull);
		if (cylinder_heads >= heads * 1024 || heads > 16) {
			sectors = 31;
			heads = 16;
			cylinder_heads = total / sectors;
		}
		if (cylinder_heads >= heads * 1024) {
			sectors = 63;
			heads = 16;
			cylinder_heads = total / sectors;
		}
	}
	return (struct chs){(uint32_t)(cylinder_heads / heads), (uint32_t)heads, (uint32_t)sectors};
}
