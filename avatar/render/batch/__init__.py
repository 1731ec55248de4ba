"""Many sessions' frames at once, in torch: the same picture as `avatar.render.decoder`, for a GPU."""
