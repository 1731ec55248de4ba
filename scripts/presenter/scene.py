"""The presenter's Blender scene: meshes, materials, light, camera. Kit centimetres become Blender units, z up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy  # type: ignore[import-not-found]
import numpy as np
from kit import Floats, Head
from mathutils import Vector  # type: ignore[import-not-found]
from mathutils.bvhtree import BVHTree  # type: ignore[import-not-found]
from paint import Canvas
from strands import Strands, Surface, hairline

SKULL = np.array([0.0, 4.6, -0.6])  # middle of the skull, kit cm
CAMERA_DISTANCE = 130.0
FRAME = 39.5  # cm across the picture at the face
FRAME_MIDDLE = -0.6  # kit y of the picture's middle


def to_blender(points_N3: Floats) -> Floats:
    """Kit axes -> Blender axes."""
    return np.stack([points_N3[..., 0], -points_N3[..., 2], points_N3[..., 1]], axis=-1)


def from_blender(points_N3: Floats) -> Floats:
    """Blender axes -> kit axes."""
    return np.stack([points_N3[..., 0], points_N3[..., 2], -points_N3[..., 1]], axis=-1)


def empty_scene(size: int, samples: int, threads: int) -> Any:
    """A Cycles scene without anything in it, transparent behind."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = samples
    scene.cycles.use_adaptive_sampling = True
    scene.cycles.adaptive_threshold = 0.02
    scene.cycles.use_denoising = True
    scene.cycles.denoiser = "OPENIMAGEDENOISE"
    scene.cycles.max_bounces = 8
    scene.cycles.transparent_max_bounces = 16
    scene.cycles.seed = 7
    scene.cycles_curves.shape = "RIBBONS"
    scene.render.threads_mode = "FIXED"
    scene.render.threads = threads
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.film_transparent = True
    scene.render.filter_size = 1.3
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.image_settings.color_depth = "16"
    return scene


def add_mesh(name: str, vertices_V3: Floats, faces: list[Any], material: Any, levels: int = 0) -> Any:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(to_blender(vertices_V3).tolist(), [], faces)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), dtype=bool))
    mesh.materials.append(material)
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    if levels:
        modifier = thing.modifiers.new("smooth", "SUBSURF")
        modifier.levels = modifier.render_levels = levels
    return thing


def add_strands(name: str, strands: Strands, material: Any) -> Any:
    count, points, _ = strands.points_NP3.shape
    curves = bpy.data.hair_curves.new(name)
    curves.add_curves([points] * count)
    curves.attributes["position"].data.foreach_set(
        "vector", to_blender(strands.points_NP3).astype(np.float32).reshape(-1)
    )
    radius = curves.attributes.get("radius") or curves.attributes.new("radius", "FLOAT", "POINT")
    radius.data.foreach_set("value", strands.radius_NP.astype(np.float32).reshape(-1))
    curves.materials.append(material)
    thing = bpy.data.objects.new(name, curves)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def surface_of(thing: Any) -> Surface:
    """Ray casting on the evaluated (subdivided) mesh, in kit coordinates."""
    tree = BVHTree.FromObject(thing, bpy.context.evaluated_depsgraph_get())

    def cast(origin: Floats, direction: Floats) -> Floats | None:
        hit = tree.ray_cast(Vector(to_blender(origin)), Vector(to_blender(direction)))[0]
        return None if hit is None else from_blender(np.array(hit))

    return cast


# --- materials


def _material(name: str) -> tuple[Any, Any, Any]:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    return material, tree, tree.nodes.get("Principled BSDF")


def _image(tree: Any, path: Path, data: bool) -> Any:
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.load(str(path))
    node.image.colorspace_settings.name = "Non-Color" if data else "sRGB"
    node.extension = "EXTEND"
    node.interpolation = "Cubic"
    return node


def skin_material(folder: Path, scalp_colour: tuple[float, float, float]) -> Any:
    material, tree, shader = _material("skin")
    link = tree.links.new
    colour, height = _image(tree, folder / "colour.png", False), _image(tree, folder / "height.png", True)
    rough, lips = _image(tree, folder / "rough.png", True), _image(tree, folder / "lips.png", True)
    scalp = tree.nodes.new("ShaderNodeAttribute")
    scalp.attribute_name = "scalp"
    mix = tree.nodes.new("ShaderNodeMixRGB")
    mix.inputs[2].default_value = (*scalp_colour, 1)
    link(scalp.outputs["Fac"], mix.inputs[0])
    link(colour.outputs["Color"], mix.inputs[1])
    link(mix.outputs["Color"], shader.inputs["Base Color"])
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value = 0.55
    bump.inputs["Distance"].default_value = 0.12
    link(height.outputs["Color"], bump.inputs["Height"])
    link(bump.outputs["Normal"], shader.inputs["Normal"])
    link(rough.outputs["Color"], shader.inputs["Roughness"])
    shader.inputs["Subsurface Weight"].default_value = 1.0
    shader.inputs["Subsurface Radius"].default_value = (1.0, 0.36, 0.20)
    shader.inputs["Subsurface Scale"].default_value = 0.34
    shader.inputs["Specular IOR Level"].default_value = 0.42
    shader.inputs["Coat Roughness"].default_value = 0.22
    coat = tree.nodes.new("ShaderNodeMath")
    coat.operation = "MULTIPLY"
    coat.inputs[1].default_value = 0.30
    link(lips.outputs["Color"], coat.inputs[0])
    link(coat.outputs[0], shader.inputs["Coat Weight"])
    return material


def hair_material(name: str, melanin: float, redness: float, spread: float) -> Any:
    material, tree, _ = _material(name)
    tree.nodes.clear()
    out = tree.nodes.new("ShaderNodeOutputMaterial")
    shader = tree.nodes.new("ShaderNodeBsdfHairPrincipled")
    shader.parametrization = "MELANIN"
    shader.inputs["Melanin"].default_value = melanin
    shader.inputs["Melanin Redness"].default_value = redness
    shader.inputs["Roughness"].default_value = 0.36
    shader.inputs["Radial Roughness"].default_value = 0.38
    shader.inputs["Random Color"].default_value = spread
    shader.inputs["Random Roughness"].default_value = 0.25
    tree.links.new(shader.outputs[0], out.inputs[0])
    return material


def plain_material(name: str, colour: tuple[float, float, float], rough: float, metal: float = 0.0) -> Any:
    material, _, shader = _material(name)
    shader.inputs["Base Color"].default_value = (*colour, 1)
    shader.inputs["Roughness"].default_value = rough
    shader.inputs["Metallic"].default_value = metal
    return material


def knit_material(colour: tuple[float, float, float], relief: float) -> Any:
    """Fine ribbed knit: stripes of the mesh's u coordinate as bump of strength `relief`, a little sheen."""
    material, tree, shader = _material("knit")
    link = tree.links.new
    shader.inputs["Base Color"].default_value = (*colour, 1)
    shader.inputs["Roughness"].default_value = 0.85
    shader.inputs["Sheen Weight"].default_value = 0.35
    shader.inputs["Sheen Roughness"].default_value = 0.5
    coordinates = tree.nodes.new("ShaderNodeUVMap")
    wave = tree.nodes.new("ShaderNodeTexWave")
    wave.inputs["Scale"].default_value = 1.0
    wave.inputs["Distortion"].default_value = 0.25
    wave.inputs["Detail"].default_value = 2.0
    wave.inputs["Detail Scale"].default_value = 3.0
    link(coordinates.outputs[0], wave.inputs["Vector"])
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value = relief
    bump.inputs["Distance"].default_value = 0.16
    link(wave.outputs["Fac"], bump.inputs["Height"])
    link(bump.outputs["Normal"], shader.inputs["Normal"])
    return material


def cornea_material() -> Any:
    """Clear coat: mirror by Fresnel, otherwise see-through, casts no shadow."""
    material, tree, _ = _material("cornea")
    tree.nodes.clear()
    out = tree.nodes.new("ShaderNodeOutputMaterial")
    clear, gloss = tree.nodes.new("ShaderNodeBsdfTransparent"), tree.nodes.new("ShaderNodeBsdfGlossy")
    gloss.inputs["Roughness"].default_value = 0.03
    fresnel, path = tree.nodes.new("ShaderNodeFresnel"), tree.nodes.new("ShaderNodeLightPath")
    fresnel.inputs["IOR"].default_value = 1.60
    visible = tree.nodes.new("ShaderNodeMath")
    visible.operation = "MULTIPLY"
    mix = tree.nodes.new("ShaderNodeMixShader")
    tree.links.new(fresnel.outputs[0], visible.inputs[0])
    tree.links.new(path.outputs["Is Camera Ray"], visible.inputs[1])
    tree.links.new(visible.outputs[0], mix.inputs[0])
    tree.links.new(clear.outputs[0], mix.inputs[1])
    tree.links.new(gloss.outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], out.inputs[0])
    return material


def eye_material(folder: Path) -> Any:
    material, tree, shader = _material("eye")
    tree.links.new(_image(tree, folder / "iris.png", False).outputs["Color"], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.35
    shader.inputs["Specular IOR Level"].default_value = 0.2
    shader.inputs["Subsurface Weight"].default_value = 0.15
    shader.inputs["Subsurface Scale"].default_value = 0.1
    return material


# --- things


def add_head(head: Head, canvas: Canvas, material: Any) -> Any:
    """The skin, with the front projection as texture coordinates and the scalp marked."""
    thing = add_mesh("head", head.vertices_V3, head.faces, material, levels=2)
    mesh = thing.data
    loops = np.empty(len(mesh.loops), dtype=np.int32)
    mesh.loops.foreach_get("vertex_index", loops)
    uv = (head.vertices_V3[loops, :2] - [canvas.left, canvas.bottom]) / canvas.size
    mesh.uv_layers.new(name="front").data.foreach_set("uv", uv.astype(np.float32).reshape(-1))
    offset = head.vertices_V3 - SKULL
    azimuth = np.degrees(np.arctan2(offset[:, 0], offset[:, 2]))
    elevation = np.degrees(np.arcsin(offset[:, 1] / np.linalg.norm(offset, axis=1)))
    scalp = np.clip((elevation - hairline(azimuth) - 1.0) / 5.0, 0, 1)
    mesh.attributes.new("scalp", "FLOAT", "POINT").data.foreach_set("value", scalp.astype(np.float32))
    return thing


def add_eyes(head: Head, eye: Any, cornea: Any, reach: float, iris_radius: float) -> None:
    """Turned bodies: a ball with a slightly hollow iris, and a clear bulging skin in front of it."""
    camera = np.array([0.0, FRAME_MIDDLE, CAMERA_DISTANCE])
    ball = head.eye_radius
    edge = np.arcsin(iris_radius / ball)
    around = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    for centre in head.eye_centre_23:
        axis = (camera - centre) / np.linalg.norm(camera - centre)
        right = np.cross([0.0, 1.0, 0.0], axis)
        right /= np.linalg.norm(right)
        up = np.cross(axis, right)
        turned = np.concatenate([np.linspace(0.002, edge, 14), np.linspace(edge * 1.04, np.pi * 0.6, 40)])
        inside = np.clip(1 - turned / edge, 0, 1)
        radius = ball * np.sin(turned)
        depth = np.where(turned < edge, ball * np.cos(edge) - 0.10 * np.sin(np.pi / 2 * inside), ball * np.cos(turned))
        shells = [("eye", radius, depth, eye)]
        bulge = ball * 1.012 * np.cos(turned) + 0.16 * np.clip(1 - (turned / (edge * 1.15)) ** 2, 0, 1) ** 1.5
        shells.append(("cornea", radius * 1.012, bulge, cornea))
        for name, r, z, material in shells:
            ring = r[:, None, None] * (np.cos(around)[None, :, None] * right + np.sin(around)[None, :, None] * up)
            points = (centre + ring + z[:, None, None] * axis).reshape(-1, 3)
            n, m = len(turned), len(around)
            faces = [
                (i * m + j, (i + 1) * m + j, (i + 1) * m + (j + 1) % m, i * m + (j + 1) % m)
                for i in range(n - 1)
                for j in range(m)
            ]
            thing = add_mesh(name, points, faces, material)
            loops = np.empty(len(thing.data.loops), dtype=np.int32)
            thing.data.loops.foreach_get("vertex_index", loops)
            flat = (turned / edge / reach)[:, None, None] * np.stack([np.cos(around), np.sin(around)], axis=-1)
            uv = np.clip(0.5 + 0.5 * flat.reshape(-1, 2), 0, 1)[loops]
            thing.data.uv_layers.new(name="front").data.foreach_set("uv", uv.astype(np.float32).reshape(-1))


def add_area(name: str, position: Floats, size: tuple[float, float], watts: float, colour: tuple[float, ...]) -> None:
    """A soft box at `position` (kit cm) that looks at the face."""
    light = bpy.data.lights.new(name, "AREA")
    light.shape, light.size, light.size_y = "RECTANGLE", size[0], size[1]
    light.energy, light.color = watts, colour
    thing = bpy.data.objects.new(name, light)
    thing.location = to_blender(position)
    aim = Vector(to_blender(np.array([0.0, 0.0, 6.0]))) - thing.location
    thing.rotation_euler = aim.to_track_quat("-Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(thing)


def add_light_and_camera(scene: Any) -> None:
    """Large soft key from the upper left, wide fill, weak rims; a long lens straight ahead."""
    add_area("key", np.array([-38.0, 40.0, 75.0]), (50, 50), 68000, (1.0, 0.965, 0.92))
    add_area("fill", np.array([60.0, 5.0, 62.0]), (60, 60), 24000, (0.92, 0.96, 1.0))
    add_area("below", np.array([0.0, -48.0, 50.0]), (60, 25), 7000, (1.0, 0.95, 0.92))
    add_area("rim left", np.array([-48.0, 28.0, -42.0]), (22, 50), 9000, (1.0, 0.90, 0.80))
    add_area("rim right", np.array([50.0, 30.0, -40.0]), (22, 50), 9000, (0.92, 0.93, 1.0))
    world = bpy.data.worlds.new("room")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs[0].default_value = (0.80, 0.86, 0.92, 1)
    world.node_tree.nodes["Background"].inputs[1].default_value = 0.32
    scene.world = world
    camera = bpy.data.cameras.new("camera")
    camera.sensor_width = 36
    camera.lens = 36 * (CAMERA_DISTANCE - 8.0) / FRAME
    thing = bpy.data.objects.new("camera", camera)
    thing.location = to_blender(np.array([0.0, FRAME_MIDDLE, CAMERA_DISTANCE]))
    thing.rotation_euler = (np.pi / 2, 0, 0)
    scene.collection.objects.link(thing)
    scene.camera = thing


def shoot(scene: Any, path: Path) -> Floats:
    """Render to a 16-bit file and read it back: [H, W, 4] sRGB 0..1 with straight alpha, row 0 at the top."""
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    picture = bpy.data.images.load(str(path))
    picture.colorspace_settings.name = "Non-Color"
    width, height = picture.size
    rgba = np.empty(width * height * 4, dtype=np.float32)
    picture.pixels.foreach_get(rgba)
    return rgba.reshape(height, width, 4)[::-1].astype(np.float64)
