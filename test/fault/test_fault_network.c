/*
 * Memory runs out where connections are made, used and closed. What happens in each scene:
 * harbour.h; what is a scene and how it is played: stage.h.
 */
#define NETWORK_SCENE SCENE
#include "harbour.h"

TEST_WITH_LIMIT(60, loop_is_closed_in_the_middle,
                "a loop that is closed in the middle leaves nothing, with or without memory")
{
    close_in_the_middle(false);
}
